"""The log is shown by --verbose, that of worker processes too; without it, test_progress finds no other line."""


def test_verbose_shows_checkpoints_that_workers_write(pipeline):
    grid = ("grid", "--dataset", "digits", "--max-epoch", "1", "--losses", "hinge", "--activations", "relu")
    done = pipeline(*grid, "--hidden-sizes", "128", "--verbose", "true")
    assert done.returncode == 0, done.stderr
    assert "pipeline.training.checkpoint: checkpoint written" in done.stderr
