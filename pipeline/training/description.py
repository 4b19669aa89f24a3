"""The description of a network's run: its result, what each metric means, and how to use the network."""

from collections.abc import Mapping

from pipeline.config import TrainingConfig
from pipeline.names import shared_settings
from pipeline.training.task import evaluation_split


def network_title(config: TrainingConfig) -> str:
    """Name the network, its data and its settings: "relu-hinge-1h on digits, lr 0.1, he"."""
    return ", ".join(filter(None, [f"{config.network} on {config.dataset}", shared_settings([config])]))


def describe_network(
    config: TrainingConfig, metrics: Mapping[str, float], images: Mapping[str, int], model_uri: str
) -> str:
    """Describe a finished network, in markdown.

    Args:
        config: the network's configuration.
        metrics: the final metrics.
        images: numbers of images, by split: "train", and "test" or "validation".
        model_uri: the URI of the network's model in MLflow.
    """
    split = evaluation_split(config)
    evaluated = f"{images[split]} {split} images"
    every = f"every {config.test_epoch} epochs" if config.test_epoch > 1 else "every epoch"
    return f"""\
**{_percent(metrics[f"{split}_accuracy"], images[split])} of {evaluated}** are classified correctly by {network_title(config)}.

- `{split}_accuracy`, `{split}_loss`: of the finished network, on the {evaluated}.
- `train_accuracy`, `train_loss`: of the finished network, on its {images["train"]} training images.
- `{split}/accuracy`, `{split}/loss`: the curve on the {split} images, a point {every}. The last point is the finished network.
- `train/accuracy`, `train/loss`: the curve on the training images while the network learned from them, means of {config.disp_freq} mini-batches.

To use the network:

```python
import mlflow

model = mlflow.pyfunc.load_model("{model_uri}")
model.predict(pixels)  # 0 (background) to 255 (ink), one image a row
```"""  # noqa: E501 - a paragraph of markdown is one line


def _percent(share: float, images: int) -> str:
    """Format an accuracy with as many decimals as are meaningful: 91.4 % of 360 images, 97.86 % of 10000."""
    decimals = 2 if images >= 10_000 else 1  # noqa: PLR2004 - one image is then a hundredth of a percent
    return f"{100 * share:.{decimals}f} %"
