"""The fifth room: a trained model in use."""
