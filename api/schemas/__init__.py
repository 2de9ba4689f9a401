"""The shapes of requests and answers. They check what comes in and describe both in OpenAPI."""
