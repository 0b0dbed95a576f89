// Command workload is what runs in the containers of a test: it says which files it sees, or waits, and ends as it is told.
package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

const usage = `usage: workload pause                        waits until SIGTERM
       workload list [options] <folder>...   says each file below the folders: one JSON value a line
       workload watch [options] <folder>...  says them again whenever something changed, until SIGTERM
       workload cat [options] <file>...      says what is in the files
What list, watch (at its end) and cat say is the termination message too. Options: -message <file>, -text, -wait, -code <number>
`

// The container runtime reads the message of a container that ended from here, unless the Pod names another file.
const terminationMessagePath = "/dev/termination-log"

const lookEvery = 50 * time.Millisecond

type options struct {
	message string
	text    bool
	wait    bool
	code    int
}

// entry is one file, as the container sees it.
type entry struct {
	Path   string `json:"path"`
	Type   string `json:"type"`
	Mode   string `json:"mode,omitempty"`
	UID    uint32 `json:"uid"`
	GID    uint32 `json:"gid"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256,omitempty"`
	Text   string `json:"text,omitempty"`
	Error  string `json:"error,omitempty"`
}

func typeOf(mode fs.FileMode) string {
	switch {
	case mode.IsRegular():
		return "file"
	case mode.IsDir():
		return "folder"
	case mode&fs.ModeSymlink != 0:
		return "link"
	}
	return "other"
}

func look(path string, info fs.FileInfo, withText bool) entry {
	found := entry{Path: path, Type: typeOf(info.Mode()), Mode: fmt.Sprintf("%04o", info.Mode().Perm()), Size: info.Size()}
	if owner, ok := info.Sys().(*syscall.Stat_t); ok {
		found.UID, found.GID = owner.Uid, owner.Gid
	}
	if found.Type != "file" {
		found.Size = 0
		return found
	}
	content, err := os.ReadFile(path)
	if err != nil {
		found.Error = err.Error()
		return found
	}
	sum := sha256.Sum256(content)
	found.SHA256 = hex.EncodeToString(sum[:])
	if withText {
		found.Text = string(content)
	}
	return found
}

// list says everything below the folders but the folders themselves, in the order of the names.
func list(folders []string, withText bool) string {
	said := ""
	say := func(one entry) {
		line, err := json.Marshal(one)
		if err != nil {
			line = []byte(fmt.Sprintf(`{"path":%q,"error":%q}`, one.Path, err))
		}
		said += string(line) + "\n"
	}
	for _, folder := range folders {
		err := filepath.WalkDir(folder, func(path string, item fs.DirEntry, err error) error {
			if err != nil {
				// A file that is replaced while we look is there again the next time.
				say(entry{Path: path, Type: "unknown", Error: err.Error()})
				return nil
			}
			if path == folder {
				return nil
			}
			info, err := item.Info()
			if err != nil {
				say(entry{Path: path, Type: "unknown", Error: err.Error()})
				return nil
			}
			say(look(path, info, withText))
			return nil
		})
		if err != nil {
			say(entry{Path: folder, Type: "unknown", Error: err.Error()})
		}
	}
	return said
}

func cat(files []string) (string, error) {
	said := ""
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return said, err
		}
		said += string(content)
	}
	return said, nil
}

func leaveMessage(file, message string) {
	if file == "" {
		return
	}
	// Outside of a container there is no such file, and nobody to read it.
	if err := os.WriteFile(file, []byte(message), 0o644); err != nil && !errors.Is(err, fs.ErrPermission) {
		fmt.Fprintln(os.Stderr, err)
	}
}

func watch(folders []string, withText bool, asked <-chan os.Signal) string {
	said := ""
	for {
		if now := list(folders, withText); now != said {
			said = now
			fmt.Print("--\n" + said)
		}
		select {
		case <-asked:
			return said
		case <-time.After(lookEvery):
		}
	}
}

func run(mode string, given options, paths []string) (int, error) {
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGTERM, syscall.SIGINT)
	said := ""
	switch mode {
	case "pause":
		<-asked
		return given.code, nil
	case "list":
		said = list(paths, given.text)
		fmt.Print(said)
	case "watch":
		said = watch(paths, given.text, asked)
	case "cat":
		text, err := cat(paths)
		fmt.Print(text)
		if err != nil {
			leaveMessage(given.message, err.Error())
			return 1, err
		}
		said = text
	default:
		return 2, errors.New(usage)
	}
	leaveMessage(given.message, said)
	if given.wait {
		<-asked
	}
	return given.code, nil
}

func main() {
	mode, rest := "pause", []string{}
	if len(os.Args) > 1 {
		mode, rest = os.Args[1], os.Args[2:]
	}
	var given options
	flags := flag.NewFlagSet(mode, flag.ExitOnError)
	flags.Usage = func() { fmt.Fprint(os.Stderr, usage) }
	flags.StringVar(&given.message, "message", terminationMessagePath, "file for the termination message; empty for none")
	flags.BoolVar(&given.text, "text", false, "say the content of each file too")
	flags.BoolVar(&given.wait, "wait", false, "wait until SIGTERM before the end")
	flags.IntVar(&given.code, "code", 0, "exit code")
	if err := flags.Parse(rest); err != nil {
		os.Exit(2)
	}
	code, err := run(mode, given, flags.Args())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}
