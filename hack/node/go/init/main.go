// Command init is the first process of a node on this machine, in PID and mount namespaces of its own (see unshare(1)): when
// the command that it runs has ended, it ends every other process there and removes what the node left outside of them.
// Should it be killed itself, the kernel ends the processes and the mounts go with them; `init sweep` removes the rest.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

const usage = `usage: init run <folder> <command> [arguments]   as PID 1 of namespaces of its own
       init sweep <folder>                       removes what a node left whose processes have ended`

// Where programs of a node write without asking: fresh and empty here, and gone with the namespace.
var hidden = []string{"/run", "/var/log"}

// kubelet sets these for the whole machine, and does not start when it cannot: here it finds a copy of each to write to.
var copied = []string{
	"/proc/sys/vm/overcommit_memory",
	"/proc/sys/vm/panic_on_oom",
	"/proc/sys/kernel/panic",
	"/proc/sys/kernel/panic_on_oops",
	"/proc/sys/kernel/keys/root_maxkeys",
	"/proc/sys/kernel/keys/root_maxbytes",
}

// How the names of the folders begin that are removed.
const folderPrefix = "access-gate-node-"

func isNodeFolder(path string) bool {
	return filepath.IsAbs(path) && strings.HasPrefix(filepath.Base(filepath.Clean(path)), folderPrefix)
}

// How long processes may take to be gone after SIGKILL.
const killedWithin = 10 * time.Second

func prepare() error {
	for _, folder := range hidden {
		if err := syscall.Mount("tmpfs", folder, "tmpfs", 0, "mode=755"); err != nil {
			return fmt.Errorf("mount a tmpfs at %s: %w", folder, err)
		}
	}
	for number, setting := range copied {
		value, err := os.ReadFile(setting)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		file := fmt.Sprintf("/run/setting-%d", number)
		if err := os.WriteFile(file, value, 0o600); err != nil {
			return err
		}
		if err := syscall.Mount(file, setting, "", syscall.MS_BIND, ""); err != nil {
			return fmt.Errorf("mount a copy at %s: %w", setting, err)
		}
	}
	return nil
}

// runCommand returns when the command has ended. Processes whose parent is gone are children of ours, and are reaped meanwhile.
func runCommand(command string, args []string) (int, error) {
	started, err := os.StartProcess(command, append([]string{command}, args...), &os.ProcAttr{Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}})
	if err != nil {
		return 1, err
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	signal.Ignore(syscall.SIGINT, syscall.SIGHUP)
	go func() {
		for range signals {
			_ = syscall.Kill(started.Pid, syscall.SIGTERM)
		}
	}()
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case err != nil:
			return 1, fmt.Errorf("wait for %s: %w", command, err)
		case pid != started.Pid:
			continue
		case status.Exited():
			return status.ExitStatus(), nil
		case status.Signaled():
			return 128 + int(status.Signal()), nil
		}
	}
}

// endAll ends every process of the namespace but this one. Only PID 1 of a namespace gets here.
func endAll() error {
	until := time.Now().Add(killedWithin)
	for {
		if err := syscall.Kill(-1, syscall.SIGKILL); errors.Is(err, syscall.ESRCH) {
			return nil
		}
		for {
			pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
			if pid <= 0 || err != nil {
				break
			}
		}
		if time.Now().After(until) {
			return fmt.Errorf("some processes were not gone within %s of SIGKILL", killedWithin)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// mountsBelow finds the mounts below the folder, in the order in which they were made.
func mountsBelow(folder string) ([]string, error) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	found := []string{}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) > 4 && strings.HasPrefix(unescape(fields[4]), folder+"/") {
			found = append(found, unescape(fields[4]))
		}
	}
	return found, nil
}

// unmountBelow detaches every mount below the folder, the last one first: what is mounted there is not ours to remove.
func unmountBelow(folder string) error {
	mounts, err := mountsBelow(folder)
	if err != nil {
		return err
	}
	for _, mount := range slices.Backward(mounts) {
		// EINVAL: it went with the one above it.
		if err := syscall.Unmount(mount, syscall.MNT_DETACH); err != nil && !errors.Is(err, syscall.EINVAL) {
			return fmt.Errorf("unmount %s: %w", mount, err)
		}
	}
	if left, err := mountsBelow(folder); err != nil || len(left) > 0 {
		return errors.Join(err, fmt.Errorf("still mounted, so nothing was removed: %s", strings.Join(left, ", ")))
	}
	return nil
}

// The kernel writes these characters of a path as octal numbers.
var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace

// removeCgroups removes the control groups of the containers that the container runtime still knew, in either version's layout.
func removeCgroups(folder string) {
	bundles, _ := filepath.Glob(filepath.Join(folder, "containerd/state/io.containerd.runtime.v2.task/k8s.io/*"))
	for _, pattern := range []string{"/sys/fs/cgroup/k8s.io", "/sys/fs/cgroup/*/k8s.io"} {
		parents, _ := filepath.Glob(pattern)
		for _, parent := range parents {
			for _, bundle := range bundles {
				removeCgroup(filepath.Join(parent, filepath.Base(bundle)))
			}
			// Another container runtime of this machine may use it: only an empty one goes.
			_ = syscall.Rmdir(parent)
		}
	}
}

// removeCgroup removes a control group and those below it. One that still holds a process, or is gone, is left.
func removeCgroup(path string) {
	below, _ := filepath.Glob(filepath.Join(path, "*/"))
	for _, one := range below {
		if info, err := os.Lstat(one); err == nil && info.IsDir() {
			removeCgroup(one)
		}
	}
	_ = syscall.Rmdir(path)
}

func sweep(folder string) error {
	if err := unmountBelow(folder); err != nil {
		return err
	}
	removeCgroups(folder)
	return os.RemoveAll(folder)
}

func run(folder, command string, args []string) (int, error) {
	if os.Getpid() != 1 {
		return 2, errors.New("init run ends all processes that it sees: start it as PID 1 of a namespace of its own, by unshare --pid --fork --mount --mount-proc")
	}
	code, err := 1, prepare()
	if err == nil {
		code, err = runCommand(command, args)
	}
	return code, errors.Join(err, endAll(), sweep(folder))
}

func main() {
	code, err := 2, errors.New(usage)
	if len(os.Args) > 2 && !isNodeFolder(os.Args[2]) {
		err = fmt.Errorf("the folder is removed at the end: it must be an absolute path whose last name begins with %q; got %q", folderPrefix, os.Args[2])
	} else if len(os.Args) > 3 && os.Args[1] == "run" {
		code, err = run(filepath.Clean(os.Args[2]), os.Args[3], os.Args[4:])
	} else if len(os.Args) == 3 && os.Args[1] == "sweep" {
		code, err = 0, sweep(filepath.Clean(os.Args[2]))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "init:", err)
		if code == 0 {
			code = 1
		}
	}
	os.Exit(code)
}
