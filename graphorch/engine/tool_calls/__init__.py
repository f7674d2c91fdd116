"""Tool calls of attempts: rounds of activations inside them, and the approvals that they need."""
