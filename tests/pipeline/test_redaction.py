import subprocess
import sys

import pytest

from pipeline.errors import PipelineError
from pipeline.redaction import redacted


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://me:opensesame@host/db",
        "mysql+pymysql://me:open%40sesame@host:3306/db",
        "https://me:open@sesame@host",
        "postgresql://host/db?user=me&password=opensesame",
        "http://:opensesame@proxy:8080",
    ],
)
def test_a_password_in_any_address_is_masked(address):
    text = redacted(f"cannot reach {address} because it is out")
    assert "sesame" not in text
    assert text.startswith("cannot reach ")
    assert "host" in text or "proxy" in text
    assert text.endswith(" because it is out")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MLFLOW_TRACKING_URI", "postgresql://me:open%2Fsesame@host/db"),
        ("OPTUNA_STORAGE", "mysql://me:open/sesame@host/db"),
        ("MLFLOW_TRACKING_PASSWORD", "open/sesame"),
        ("MLFLOW_TRACKING_TOKEN", "open/sesame"),
        ("AWS_SECRET_ACCESS_KEY", "open/sesame"),
        ("PGPASSWORD", "open/sesame"),
        ("MYSQL_PWD", "open/sesame"),
    ],
)
def test_a_secret_of_the_environment_is_masked_wherever_it_stands(name, value, monkeypatch):
    assert redacted("the word open/sesame") == "the word open/sesame"
    monkeypatch.setenv(name, value)
    assert redacted("the word open/sesame") == "the word ***"
    assert str(PipelineError("quoted: open/sesame")) == "quoted: ***"


def test_what_is_no_secret_stays(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://mlflow:mlflow@host/mlflow")
    for text in ("import mlflow", "models:/digits@champion", "http://127.0.0.1:5000/#/runs", "a@b, c:d"):
        assert redacted(text) == text
    assert redacted("postgresql://mlflow:mlflow@host/mlflow") == "postgresql://mlflow:***@host/mlflow"


def test_log_and_traceback_of_a_process_are_masked():
    program = (
        "import logging\nfrom pipeline.redaction import redact_log_and_tracebacks\nredact_log_and_tracebacks()\n"
        "logging.basicConfig()\nlogging.getLogger('library').warning('connects to %s', 'db://me:opensesame@host')\n"
        "try:\n    raise ValueError('db://me:opensesame@host')\n"
        "except ValueError:\n    logging.getLogger('library').exception('failed')\n"
        "raise ValueError('db://me:opensesame@host')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "opensesame" not in done.stderr.replace("'db://me:opensesame@host'\n", "").replace("raise", "")
    assert done.stderr.count("ValueError: db://me:***@host") == 2
    assert "connects to db://me:***@host" in done.stderr
