# SPDX-License-Identifier: Apache-2.0
"""Notices its restores by libgeneration.so, which ctypes has loaded: python3 app.py ./libgeneration.so"""
import ctypes
import os
import signal
import sys

generation = ctypes.c_ulong.in_dll(ctypes.CDLL(os.path.abspath(sys.argv[1])), "crpie_generation")

signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
print("READY", os.getpid(), flush=True)
signal.sigwait([signal.SIGUSR1])
print("generation", generation.value)
print("PASS")
