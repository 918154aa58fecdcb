"""Published checkpoints to vmmjax and back, with a report that names every tensor."""
