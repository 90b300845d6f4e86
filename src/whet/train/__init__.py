"""The third room: prepared tokens in, one trained model per stage out."""
