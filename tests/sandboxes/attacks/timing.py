"""Attacks on the clock, on the wall-clock limit, and on the supervisor that keeps it."""

from tests.sandboxes.attacks.attack import Attack

ATTACKS = (
    Attack("set_the_clock", "timing", "Set the clock of the machine back.", "a changed clock", """
        must_refuse("settimeofday", struct.pack("qq", -1, -1), None)
        must_refuse("clock_settime", 0, struct.pack("qq", -1, -1))
        must_refuse("adjtimex", None)
        must_refuse("clock_adjtime", 0, None)
        must_not_open("/dev/rtc", "/dev/rtc0", flags=os.O_WRONLY)
        must_not_open("/proc/self/timens_offsets", flags=os.O_WRONLY) if os.getuid() != 65534 else None
        """),
    Attack("ignore_every_signal", "timing", "Ignore whatever can be ignored, and sleep past the limit.", "more time", """
        for number in range(1, 65):
            try:
                signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError):
                pass
        signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
        while True:
            time.sleep(1000)
        """, expect=("timed_out",), wall_s=0.7, fresh=True),
    Attack("stop_itself", "timing", "Stop, so that it neither ends nor runs.", "more time", """
        os.kill(os.getpid(), signal.SIGSTOP)
        """, expect=("timed_out",), wall_s=0.7, fresh=True),
    Attack("stopped_children", "timing", "Leave stopped and traced-looking children behind and end.", "a child that lives on", """
        for _ in range(8):
            child = os.fork()
            if child == 0:
                os.setsid()
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                os.kill(os.getpid(), signal.SIGSTOP)
                os._exit(0)
        """, fresh=True),
    Attack("alarm_storm", "timing", "Interrupt everything with timers.", "a confused supervisor", """
        signal.signal(signal.SIGALRM, lambda *_: None)
        signal.signal(signal.SIGVTALRM, lambda *_: None)
        signal.setitimer(signal.ITIMER_REAL, 1e-5, 1e-5)
        signal.setitimer(signal.ITIMER_VIRTUAL, 1e-5, 1e-5)
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            pass
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        """),
    Attack("signal_supervisor", "timing", "Send the supervisor every signal there is.", "a supervisor that ends", """
        for _ in range(3):
            for number in range(1, 65):
                try:
                    os.kill(1, number)
                except OSError:
                    pass
                call("rt_sigqueueinfo", 1, number, struct.pack("iii", number, 0, -1) + bytes(116))
        time.sleep(0.1)
        """, fresh=True),
    Attack("kill_everything", "timing", "Kill whatever it may, then go on.", "a dead supervisor", """
        if os.fork() == 0:
            os.setsid()
            os.kill(-1, signal.SIGKILL)
            os._exit(0)
        time.sleep(5)
        """, expect=("killed",), fresh=True),
    Attack("forged_answer", "timing", "Write the supervisor's answer to the own stdout and to its descriptors.", "a forged result", """
        forged = json.dumps({"exit_code": 0, "signal": None, "stdout": 0, "stderr": 0, "wall_s": 0.001}).encode() + b"\\n"
        for place in ("/proc/1/fd/1", "/proc/1/fd/0", "/dev/console", "/dev/tty"):
            try:
                fd = os.open(place, os.O_WRONLY | os.O_NONBLOCK)
                os.write(fd, forged)
                escaped(place)
            except OSError:
                pass
        os.write(1, forged * 3)
        """),
    Attack("end_early_and_go_on", "timing", "End at once while a daemon works on, to be timed as fast.", "a daemon that lives on", """
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                time.sleep(0.3)
                open("/scratch/late", "w").write("late")
                while True:
                    time.sleep(1)
            os._exit(0)
        """, get="/scratch/late"),
    Attack("endless_exec", "timing", "Become another program again and again.", "more time", """
        os.execv(sys.executable, [sys.executable, "-S", "-c", "import os, sys; os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])"])
        """, expect=("timed_out",), wall_s=0.7, fresh=True),
    Attack("vfork_hold", "timing", "Hold the parent in a vfork, in an uninterruptible wait.", "more time", """
        # vfork suspends the parent in the kernel until the child ends; only a kill of both helps.
        subprocess.Popen(["sleep", "1000"])
        code = "import os, time; os.closerange(0, 3); time.sleep(1000)"
        subprocess.run([sys.executable, "-c", code], close_fds=True)
        """, expect=("timed_out",), wall_s=0.7, fresh=True),
)  # fmt: skip
