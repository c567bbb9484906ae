"""The configuration: its defaults, its bounds, and what it refuses."""

from dataclasses import asdict
from pathlib import Path

import pytest

from hotswap.config import ConfigError, Secret, load

DEFAULTS = {
    "core": {
        "state_dir": Path(".hotswap"),
        "secret_key": "",
        "debug": False,
        "allowed_hosts": ("localhost", "127.0.0.1", "[::1]"),
        "trusted_origins": (),
    },
    "stores": {
        "database_url": "",
        "redis_url": "",
        "s3_endpoint_url": "",
        "s3_bucket": "",
        "s3_region": "us-east-1",
        "s3_access_key_id": "",
        "s3_secret_access_key": "",
    },
    "web": {"host": "127.0.0.1", "port": 8000, "workers": 1, "url": "http://127.0.0.1:8000"},
    "gateway": {
        "host": "127.0.0.1",
        "port": 8001,
        "url": "http://127.0.0.1:8001",
        "processes": 1,
        "max_connections": 4096,
        "header_timeout_seconds": 10.0,
        "body_timeout_seconds": 30.0,
        "idle_timeout_seconds": 75.0,
        "drain_seconds": 30.0,
        "records_per_second": 500,
    },
    "runner": {
        "backend": "auto",
        "allow_unisolated": False,
        "name": "",
        "processes": 1,
        "regions": (),
        "stem_cells": 2,
        "max_instances": 1000,
        "memory_mib": 0,
        "code_cache_mib": 4096,
        "freeze_after_seconds": 5.0,
        "init_timeout_seconds": 30.0,
        "drain_seconds": 30.0,
        "base_image": "",
    },
    "email": {
        "host": "",
        "port": 587,
        "user": "",
        "password": "",
        "tls": "starttls",
        "sender": "hotswap@localhost",
    },
    "retention": {
        "log_days": 7,
        "invocation_days": 30,
        "deleted_function_days": 30,
        "versions": 100,
    },
}


class TestDefaults:
    def test_are_these(self) -> None:
        assert asdict(load({})) == DEFAULTS

    def test_leave_other_programs_variables_alone(self) -> None:
        assert load({"PATH": "/bin", "HOTSWAPPER": "1"}) == load({})


class TestLoad:
    def test_reads_every_kind_of_value(self) -> None:
        config = load(
            {
                "HOTSWAP_DEBUG": "true",
                "HOTSWAP_STATE_DIR": "elsewhere",
                "HOTSWAP_ALLOWED_HOSTS": "a.example, b.example",
                "HOTSWAP_WEB_PORT": "20001",
                "HOTSWAP_GATEWAY_DRAIN_SECONDS": "1.5",
            }
        )

        assert config.core.debug is True
        assert config.core.state_dir == Path("elsewhere")
        assert config.core.allowed_hosts == ("a.example", "b.example")
        assert (config.web.port, config.gateway.drain_seconds) == (20001, 1.5)

    @pytest.mark.parametrize(
        ("name", "value", "says"),
        [
            ("HOTSWAP_WEB_PROT", "1", "HOTSWAP_WEB_PROT is not a setting"),
            ("HOTSWAP_WEB_PORT", "many", "HOTSWAP_WEB_PORT must be a number, not 'many'"),
            ("HOTSWAP_WEB_PORT", "0", "HOTSWAP_WEB_PORT must be from 1 to 65535"),
            ("HOTSWAP_GATEWAY_PROCESSES", "65", "HOTSWAP_GATEWAY_PROCESSES must be from 1 to 64"),
            ("HOTSWAP_DEBUG", "perhaps", "HOTSWAP_DEBUG must be true or false"),
            ("HOTSWAP_RUNNER_BACKEND", "chroot", "HOTSWAP_RUNNER_BACKEND must be one of"),
            ("HOTSWAP_RETENTION_VERSIONS", "0", "HOTSWAP_RETENTION_VERSIONS must be 1 or more"),
            ("HOTSWAP_SECRET_KEY", "short", "HOTSWAP_SECRET_KEY must have 32 characters or more"),
        ],
    )
    def test_refuses_with_a_sentence(self, name: str, value: str, says: str) -> None:
        with pytest.raises(ConfigError, match="^" + says):
            load({name: value})


class TestSecret:
    def test_does_not_show_itself(self) -> None:
        secret = "a-secret-of-thirty-two-characters"

        shown = repr(load({"HOTSWAP_SECRET_KEY": secret}))

        assert secret not in shown
        assert Secret(secret).reveal() == secret
