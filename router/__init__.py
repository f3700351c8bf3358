"""The stateless process that serves clients: faces, validation by `model`, routing to leaders."""
