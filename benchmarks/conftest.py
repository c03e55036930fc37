"""Options of the benchmark suites: `pytest benchmarks/ --benchmark-only --bench-device cuda`."""

import pytest


def pytest_addoption(parser):
    group = parser.getgroup("fastlstm benchmarks")
    group.addoption("--bench-device", default="cpu", choices=("cpu", "cuda"))
    group.addoption("--bench-dtype", default="float32")


@pytest.fixture(scope="session")
def device(request):
    return request.config.getoption("--bench-device")
