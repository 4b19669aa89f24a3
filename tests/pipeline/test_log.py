"""The log is shown by --verbose, of worker processes too, and is silent otherwise."""

GRID = ("grid", "--dataset", "digits", "--max-epoch", "2", "--test-epoch", "1", "--init-std", "he", "--losses", "hinge",
        "--activations", "relu,gelu", "--workers", "2")  # fmt: skip


def test_verbose_shows_checkpoints_that_workers_write(pipeline):
    done = pipeline(*GRID, "--verbose", "true")
    assert done.returncode == 0, done.stderr
    assert "pipeline.training.checkpoint: checkpoint written" in done.stderr


def test_without_it_the_log_is_silent(pipeline):
    done = pipeline(*GRID)
    assert done.returncode == 0, done.stderr
    assert "checkpoint written" not in done.stderr
