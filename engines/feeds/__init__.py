"""Feeds: checked, batched, cut in portions, in another's float types."""
