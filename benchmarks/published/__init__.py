"""Published results of others, as reference lines beside ours."""
