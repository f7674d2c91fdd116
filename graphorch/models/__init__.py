"""Model calls: one small port, a client for OpenAI-compatible endpoints, and a model that needs neither network nor key."""
