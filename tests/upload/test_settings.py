"""The settings of the upload utility: what may stand in them, and what a mistake is told."""

from pathlib import Path

import pytest

from upload.errors import SettingsError
from upload.folder import SETTINGS_NAME, find_folder
from upload.settings import parse_settings

SERVER = f"""
[server]
host = "sftp.example.com"
account = "riverdale"
host_keys = ["SHA256:{"x" * 43}"]
"""
SOURCE = """
[[source]]
feed = "students"
file = "students.csv"
"""


def test_the_shortest_settings_say_enough() -> None:
    settings = parse_settings(SERVER + SOURCE)
    assert (settings.server.port, settings.server.key, settings.server.compress) == (22, "key", "auto")
    (source,) = settings.named(())
    assert (source.called, source.sent_as) == ("students", "students.csv")
    per_school = parse_settings(SERVER + SOURCE.replace("students.csv", "out/students_{school}_{date}.csv")).source[0]
    assert per_school.sent_as == "students_{school}.csv"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (SERVER.replace("account", "acount") + SOURCE, "[server] acount is not known; did you mean account?"),
        (SERVER + SOURCE + 'filee = "x"', "[source] filee is not known; did you mean file?"),
        (SERVER + "[sources]", "sources is not known; did you mean source?"),
        (SERVER + SOURCE + 'query = "SELECT 1"', "source of students: needs exactly one of file, spreadsheet, query"),
        (SERVER + SOURCE + SOURCE, "two sources are called 'students'"),
        (SERVER.replace("SHA256:", "MD5:") + SOURCE, "server.host_keys: 'MD5:"),
        (SERVER + "port = 70000" + SOURCE, "server.port: Input should be less than or equal to 65535"),
        (SERVER + 'proxy = "ftp://x"' + SOURCE, "write socks5://host:port"),
        (SERVER + SOURCE + 'send_as = "../x"', "send_as"),
        ("[server", "landingzone-upload.toml:"),
    ],
)
def test_a_mistake_is_told_with_its_place(text: str, told: str) -> None:
    with pytest.raises(SettingsError) as refused:
        parse_settings(text)
    assert told in str(refused.value)


@pytest.mark.parametrize("connection", ["DSN=sis;PWD=hunter2", "DSN=sis; Password = hunter2", "pwd=hunter2"])
def test_a_password_in_the_file_is_refused_and_not_repeated(connection: str) -> None:
    text = f'{SERVER}[[source]]\nfeed = "students"\nview = "v"\nconnection = "{connection}"\n'
    with pytest.raises(SettingsError) as refused:
        parse_settings(text)
    assert "password_env" in str(refused.value)
    assert "hunter2" not in str(refused.value)
    with pytest.raises(SettingsError) as refused:
        parse_settings(SERVER + 'proxy = "http://eve:hunter2@proxy:8080"' + SOURCE)
    assert "hunter2" not in str(refused.value)


def test_the_folder_is_the_one_given_then_the_variable_then_here_then_the_users_own(tmp_path: Path) -> None:
    given, variable, here = (tmp_path / name for name in ("given", "variable", "here"))
    environment = {"LANDINGZONE_UPLOAD_FOLDER": str(variable), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    assert find_folder(given, current=here, environment=environment).path == given
    assert find_folder(None, current=here, environment=environment).path == variable
    del environment["LANDINGZONE_UPLOAD_FOLDER"]
    assert find_folder(None, current=here, environment=environment).path.name == "landingzone-upload"
    here.mkdir()
    (here / SETTINGS_NAME).touch()
    assert find_folder(None, current=here, environment=environment).path == here
