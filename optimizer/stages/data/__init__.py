"""What a job feeds its model: data found, checked, joined and shaped."""
