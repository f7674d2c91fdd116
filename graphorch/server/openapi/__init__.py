"""The OpenAPI 3.1 document of a server, made of its endpoints and of the models of its flows."""
