"""What the page of a network's run says."""

import pytest

from pipeline.config import TrainingConfig
from pipeline.training.description import describe_network, network_title

CONFIG = TrainingConfig(dataset="digits", loss="hinge", learning_rate=0.1, init_std="he", disp_freq=5)
METRICS = {"test_accuracy": 0.91389, "validation_accuracy": 0.91389}


def described(images, **changes):
    config = TrainingConfig(**{"dataset": "digits", "loss": "hinge", "learning_rate": 0.1, **changes})
    return describe_network(config, METRICS, images, "runs:/0123/relu-hinge-1h")


def test_the_description_begins_with_what_came_out():
    text = described({"train": 1437, "test": 360})
    assert text.startswith(
        "**91.4 % of 360 test images** are classified correctly by relu-hinge-1h on digits, lr 0.1.\n"
    )
    assert text.index("test_accuracy") < text.index("load_model")


def test_ten_thousand_images_have_two_decimals():
    assert described({"train": 60_000, "test": 10_000}).startswith("**91.39 % of 10000 test images**")


@pytest.mark.parametrize("metric", ["accuracy", "loss"])
def test_the_description_says_which_metric_is_which(metric):
    lines = described({"train": 1200, "validation": 237}, validation=True, test_epoch=1).splitlines()

    def meaning(name):
        [line] = [line for line in lines if f"`{name}`" in line]
        return line.partition(": ")[2]

    assert meaning(f"validation_{metric}") == "of the finished network, on the 237 validation images."
    assert meaning(f"train_{metric}") == "of the finished network, on its 1200 training images."
    assert "a point every epoch" in meaning(f"validation/{metric}")
    assert "means of 50 mini-batches" in meaning(f"train/{metric}")


def test_pictures_are_headed_by_network_data_and_settings():
    assert network_title(CONFIG) == "relu-hinge-1h on digits, lr 0.1, he"
    assert network_title(TrainingConfig()) == "relu-euclidean-1h on mnist"
