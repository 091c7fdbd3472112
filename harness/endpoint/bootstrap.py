"""Starts the worker on a host that does not have it running: its source goes over SSH, no file is left there."""

from contextlib import suppress
from importlib import resources

import paramiko

from harness.endpoint.remote import WORKER_ADDRESS, EndpointError, WorkerConnection
from harness.errors import NicproofError, Unsupported
from harness.guest.ssh import NOT_FOUND, Ssh

START_DEADLINE_S = 180.0
"""To import scapy takes seconds under emulation, and more on a busy host."""


def start_worker(ssh: Ssh) -> WorkerConnection:
    """Start a worker that serves this connection alone and ends with it.

    Raises:
        Unsupported: the host has no python3 or no scapy.
        EndpointError: it did not start.
    """
    channel = _send(ssh)
    worker = WorkerConnection(channel)
    try:
        worker.ask("hello", patience_s=START_DEADLINE_S)
    except EndpointError as error:
        reason = _reason(channel, error)
        worker.close()
        raise reason from None
    return worker


def leave_worker(ssh: Ssh) -> None:
    """Start a worker that goes on listening when this connection ends, and wait until it does.

    Raises:
        Unsupported: the host has no python3 or no scapy.
        EndpointError: it did not start.
    """
    channel = _send(ssh, "--listen", ":".join(map(str, WORKER_ADDRESS)))
    try:
        channel.settimeout(START_DEADLINE_S)
        if not channel.makefile("rb").readline():
            raise _reason(channel, EndpointError("the endpoint ended"))
    except (OSError, paramiko.SSHException) as error:
        raise EndpointError(f"the endpoint did not listen within {START_DEADLINE_S:g} s: {error}") from None
    finally:
        channel.close()


def _send(ssh: Ssh, *arguments: str) -> paramiko.Channel:
    source = resources.files(__package__).joinpath("worker.py").read_bytes()
    # What follows the source on standard input is the worker's own.
    program = f"import sys; exec(compile(sys.stdin.buffer.read({len(source)}), 'worker.py', 'exec'))"
    channel = ssh.start(" ".join(["python3", "-c", f'"{program}"', *arguments]))
    channel.settimeout(START_DEADLINE_S)
    with suppress(OSError):  # it has ended: why, is for who asks it first
        channel.sendall(source)
    return channel


def _reason(channel: paramiko.Channel, error: EndpointError) -> NicproofError:
    """Return why a worker has not started: by its exit status and what it said last."""
    # sh: 1: python3: not found
    # ModuleNotFoundError: No module named 'scapy'
    if not channel.status_event.wait(5):
        return error
    said = channel.makefile_stderr("rb").read().decode(errors="replace").strip().splitlines()
    last = said[-1] if said else str(error)
    if channel.exit_status == NOT_FOUND or last.startswith("ModuleNotFoundError: "):
        return Unsupported(f"raw frames from the guest need python3 and scapy in it: {last}")
    return EndpointError(f"the endpoint did not start: {last}")
