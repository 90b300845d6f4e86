"""What went wrong, why, and what to do: a recipe, a run or a model examined by its records. See `whet.doctor.run`."""
