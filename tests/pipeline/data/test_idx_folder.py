import pytest

from pipeline.data.idx_folder import find_idx_files
from pipeline.errors import PipelineError

MNIST = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


@pytest.fixture
def found(tmp_path):
    """The names of the files that are found in a folder of files of the given names."""

    def find(*names):
        for name in names:
            file = tmp_path / "idx" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(b"")
        files = find_idx_files(tmp_path / "idx", "source is 'idx'")
        return [str(file.relative_to(tmp_path / "idx")) for file in files]

    return find


@pytest.mark.parametrize(
    "names",
    [
        MNIST,
        tuple(f"{name}.gz" for name in MNIST),
        tuple(name.replace("-idx", ".idx") for name in MNIST),
        tuple(f"{name.upper()}.GZ" for name in MNIST),
        tuple(f"raw/{name}" for name in MNIST),
        tuple(f"RAW/{name}.gz" for name in MNIST),
        tuple(f"emnist-letters-{name.replace('t10k', 'test')}.gz" for name in MNIST),
        tuple(f"qmnist-{name.replace('t10k', 'test').replace('idx1-ubyte', 'idx2-int')}.gz" for name in MNIST),
        tuple(name.replace("-", "_") for name in MNIST),
    ],
)
def test_names_in_use(found, names):
    assert found(*names, "emnist-letters-mapping.txt", "README", "train-images.png") == list(names)


def test_of_a_file_and_its_compressed_copy_one_is_taken(found):
    assert found(*MNIST, *(f"{name}.gz" for name in MNIST)) == list(MNIST)


def test_folders_of_the_files_names_are_passed_over(found):
    names = [name.replace("-idx", ".idx") for name in MNIST]
    assert found(*names, *(f"{name}/inside" for name in MNIST)) == names


def test_the_names_of_mnist_go_before_others(found):
    assert found(*MNIST, *(f"emnist-digits-{name}" for name in MNIST)) == list(MNIST)


def test_files_go_before_the_subfolder(found):
    assert found(*MNIST, *(f"raw/{name}" for name in MNIST)) == list(MNIST)


def test_a_role_that_no_file_has_is_named_and_the_folder_listed(found):
    with pytest.raises(PipelineError) as caught:
        found(*MNIST[:3], "t10k-labels.csv")
    assert str(caught.value).startswith("source is 'idx', and ")
    assert str(caught.value).endswith(
        "idx has no test labels; it has to hold one idx file each of training images, training labels, test images, "
        "test labels, such as t10k-labels-idx1-ubyte or t10k-labels-idx1-ubyte.gz. It holds t10k-images-idx3-ubyte, "
        "t10k-labels.csv, train-images-idx3-ubyte, train-labels-idx1-ubyte."
    )


def test_a_role_that_several_files_have_is_named(found):
    names = [f"emnist-{part}-{name}" for part in ("letters", "digits") for name in MNIST]
    with pytest.raises(PipelineError, match="emnist-digits-train-labels-idx1-ubyte, emnist-letters-train-labels-idx1-"
                       "ubyte for the training labels"):  # fmt: skip
        found(*names)


def test_an_empty_folder_and_one_of_many_files_are_listed_in_one_line(found, tmp_path):
    (tmp_path / "idx").mkdir()
    with pytest.raises(PipelineError, match=r"It holds nothing\.$"):
        found()
    with pytest.raises(PipelineError, match=r"It holds \\x1b\[31m, file-00, [^\n]*, 9 more\.$"):
        found("\x1b[31m", *(f"file-{number:02}" for number in range(20)))
