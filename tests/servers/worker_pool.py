"""A pool of Beam's Python workers on one loopback address.

python worker_pool.py ADDRESS:PORT

Beam's own program, `python -m apache_beam.runners.worker.worker_pool_main`, is the same service on all addresses of its
machine. Here several machines are one, so each pool keeps to an address of its own.
"""

import signal
import sys
from concurrent.futures import ThreadPoolExecutor

import grpc
from apache_beam.portability.api import beam_fn_api_pb2_grpc
from apache_beam.runners.worker.worker_pool_main import BeamFnExternalWorkerPoolServicer


def main(address: str) -> None:
    """Serve until SIGTERM; the workers are in this process's group, and end with it."""
    server = grpc.server(ThreadPoolExecutor())
    servicer = BeamFnExternalWorkerPoolServicer(use_process=True)
    beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(servicer, server)
    server.add_insecure_port(address)
    server.start()
    signal.sigwait([signal.SIGTERM])
    server.stop(0)


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    main(sys.argv[1])
