"""Programs that mean harm. None of them prints what is asked for."""

HOSTILE = {
    "endless loop": """
while True:
    pass
""",
    "endless sleep": """
import time
time.sleep(1000)
""",
    "deaf to signals": """
import signal
for n in range(1, 65):
    try:
        signal.signal(n, signal.SIG_IGN)
    except (OSError, ValueError):
        pass
while True:
    pass
""",
    "fork bomb": """
import os
while True:
    try:
        os.fork()
    except OSError:
        pass
""",
    "fork bomb that sleeps": """
import os, time
while True:
    try:
        if os.fork() == 0:
            os.setsid()
    except OSError:
        time.sleep(0.01)
""",
    "daemon": """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(1000)
print(3)
""",
    "threads": """
import threading, time
while True:
    threading.Thread(target=time.sleep, args=(1000,)).start()
""",
    "memory bomb": """
held = []
while True:
    held.append(bytearray(10 ** 7))
""",
    "memory bomb of several": """
import os
for _ in range(4):
    os.fork()
held = bytearray(b'x') * (100 * 10 ** 6)
while True:
    pass
""",
    "a large number": """
print(9 ** 9 ** 9)
""",
    "endless output": """
while True:
    print('x' * 10000)
""",
    "endless errors": """
import sys
while True:
    sys.stderr.write('x' * 10000)
""",
    "deep recursion": """
import sys
sys.setrecursionlimit(10 ** 9)
def f(n):
    return f(n + 1)
f(0)
""",
    "disk filled": """
n = 0
while True:
    open(f'/scratch/{n}', 'w').write('x' * 10 ** 6)
    n += 1
""",
    "many files": """
n = 0
while True:
    open(f'/scratch/{n}', 'w').close()
    n += 1
""",
    "kills everybody": """
import os, signal
os.kill(1, signal.SIGKILL)
os.kill(-1, signal.SIGKILL)
""",
    "kills the driver": """
import os, signal
os.kill(os.getppid(), signal.SIGKILL)
""",
    "closes everything": """
import os
for n in range(64):
    try:
        os.close(n)
    except OSError:
        pass
""",
}
