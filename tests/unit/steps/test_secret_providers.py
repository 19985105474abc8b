"""Where secrets come from, in which order, and what happens when one of them is broken."""

from __future__ import annotations

import threading
from importlib.metadata import EntryPoint

import pytest

from flowforge.errors import UsageError
from flowforge.steps import secret_providers
from flowforge.steps.secret_providers import Environment, Files, Plugin, Providers, SecretUnavailable
from flowforge.steps.secrets import SecretMissing, Secrets
from flowforge.steps.settings import StepSettings

ENVIRONMENT = {"FLOWFORGE_SECRET_KEY": "from the environment"}


class Vault:
    """A provider as a package brings one."""

    def __init__(self, settings: StepSettings) -> None:
        self.values: dict[str, object] = {"key": "from the vault", "number": 7}

    def get(self, name: str) -> str | None:
        if name == "broken":
            raise ConnectionError("the vault is sealed")
        return self.values.get(name)  # type: ignore[return-value]


def providers(*names: str, folder=None) -> Providers:
    made = {
        "env": Environment(ENVIRONMENT),
        "files": None if folder is None else Files(folder),
        "vault": Plugin(Vault(StepSettings())),
    }
    return Providers([(name, made[name]) for name in names])  # type: ignore[misc]


async def test_the_first_that_has_a_secret_gives_it(tmp_path):
    (tmp_path / "key").write_text("from a file\n")

    assert await providers("env", "files", "vault", folder=tmp_path).get("key") == "from the environment"
    assert await providers("files", "env", folder=tmp_path).get("key") == "from a file"
    assert await providers("vault", "env").get("key") == "from the vault"
    assert await providers("vault", "env").get("other") is None


async def test_one_that_is_broken_is_not_passed_over():
    """Otherwise a secret would become another one for as long as the vault is away."""
    with pytest.raises(SecretUnavailable, match="'broken' from vault: ConnectionError: the vault is sealed"):
        await providers("vault", "env").get("broken")
    with pytest.raises(SecretUnavailable, match="gave int, not text"):
        await providers("vault").get("number")


async def test_a_provider_that_hangs_is_not_waited_for(monkeypatch):
    """Nor does it hold up the worker: it has a thread of its own."""
    released = threading.Event()

    class Hangs:
        def get(self, name):
            released.wait(60)

    monkeypatch.setattr(secret_providers, "PATIENCE", 0.01)
    with pytest.raises(SecretUnavailable, match="did not answer"):
        await Providers([("vault", Plugin(Hangs()))]).get("key")
    released.set()


@pytest.mark.parametrize("name", ["../key", "..", ".", "", "a/b", "/etc/hostname", "nul\0", "none"])
def test_a_name_leads_out_of_no_folder(tmp_path, name):
    (tmp_path / "key").write_text("outside")
    (tmp_path / "in").mkdir()

    assert Files(tmp_path / "in").get(name) is None
    assert Files(tmp_path / "missing").get("key") is None


def test_a_file_is_taken_as_it_is_but_for_its_line_end(tmp_path):
    (tmp_path / "key").write_bytes(b" two\r\nlines \r\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "large").write_bytes(b"x" * (secret_providers.MAX_BYTES + 1))
    (tmp_path / ".hidden").write_text("x")
    files = Files(tmp_path)

    assert files.get("key") == " two\r\nlines "
    assert sorted(files.names()) == ["binary", "key", "large"]
    for name, words in {"binary": "not UTF-8", "large": "larger than"}.items():
        with pytest.raises(ValueError, match=words):
            files.get(name)


def test_the_settings_name_providers_of_installed_packages(monkeypatch, tmp_path):
    """One that is not there stops the worker at its start, and is named with what is meant."""
    entry = EntryPoint("vault", f"{__name__}:Vault", secret_providers.GROUP)
    monkeypatch.setattr(EntryPoint, "load", lambda self: Vault)
    monkeypatch.setattr(secret_providers, "entry_points", lambda group: [entry])
    made = Providers.of(StepSettings(secrets_from=("files", "vault", "env"), secrets_dir=tmp_path))

    assert made.places("key") == f"files ({tmp_path / 'key'}), vault, env (FLOWFORGE_SECRET_KEY)"
    with pytest.raises(UsageError, match="did you mean 'vault'") as refused:
        Providers.of(StepSettings(secrets_from=("vaultt",)))
    assert "env, files, vault" in str(refused.value.hint)


async def test_an_attempt_remembers_what_it_has_read_and_says_where_it_looked_in_vain():
    secrets = Secrets({})
    await secrets.load(["key", "gone"], providers("env", "vault"))

    assert dict(secrets.used) == {"key": "from the environment"}
    assert "gone" not in secrets
    assert await secrets.need("key") == "from the environment"
    with pytest.raises(SecretMissing, match="no secret 'gone'") as missing:
        await secrets.need("gone")
    assert missing.value.hint == "the secret 'gone' was looked for in: env (FLOWFORGE_SECRET_GONE), vault"
    with pytest.raises(KeyError):
        secrets["number"]
