"""The second room: what training will take, from arithmetic alone, before it starts."""
