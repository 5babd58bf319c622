"""ModernBERT without padding: the encoder, and the attention that each device has for it."""
