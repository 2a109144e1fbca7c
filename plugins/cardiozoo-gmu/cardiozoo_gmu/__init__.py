"""The gated multimodal unit, a third-party model for cardiozoo."""
