"""Raw material, one file per kind. See `base.Source` for what a source promises."""
