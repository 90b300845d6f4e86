"""What training minimises, one file per objective. See `base.Objective`."""
