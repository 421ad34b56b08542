"""Question to cited answer: one file a stage, pipeline.py says the order."""
