"""What a pre-trained model of raw media is good for: frozen features, probes on them, and fine-tuning to labels."""
