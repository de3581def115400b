// Package archive moves files between this machine and a runner as tar streams. Files from a
// runner were written by a job and are treated as hostile.
package archive

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
)

// Summary counts the files that were moved.
type Summary struct {
	Files   int   // regular ones
	Bytes   int64 // in them
	Skipped []string
}

func (s *Summary) skip(name, why string) { s.Skipped = append(s.Skipped, name+": "+why) }

// permissions are the bits of a file's mode that are kept: setuid, setgid and sticky bits
// never pass.
const permissions = 0o777

// Pack writes the file or folder source under name; "." writes a folder's contents only.
// Symbolic links stay links and are not followed. Files belong to owner.
func Pack(out *tar.Writer, source, name string, owner int) (Summary, error) {
	var summary Summary
	err := filepath.WalkDir(source, func(local string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(source, local)
		if err != nil {
			return err
		}
		inside := path.Join(name, filepath.ToSlash(relative))
		if inside == "." {
			return nil // the target folder stays as it is
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		header := &tar.Header{Name: inside, Mode: int64(info.Mode().Perm()), Uid: owner, Gid: owner, ModTime: info.ModTime(), Format: tar.FormatPAX}
		switch info.Mode().Type() {
		case fs.ModeDir:
			header.Typeflag, header.Name = tar.TypeDir, inside+"/"
			return out.WriteHeader(header)
		case fs.ModeSymlink:
			link, err := os.Readlink(local)
			if err != nil {
				return err
			}
			header.Typeflag, header.Linkname = tar.TypeSymlink, filepath.ToSlash(link)
			return out.WriteHeader(header)
		case 0:
			summary.Files++
			summary.Bytes += info.Size()
			return packFile(out, local, header)
		}
		if local == source {
			return fmt.Errorf("%s is not a file, folder or link", source)
		}
		summary.skip(local, "not a file, folder or link")
		return nil
	})
	return summary, err
}

func packFile(out *tar.Writer, local string, header *tar.Header) error {
	file, err := os.Open(local)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	header.Typeflag, header.Size = tar.TypeReg, info.Size()
	if err := out.WriteHeader(header); err != nil {
		return err
	}
	if _, err := io.CopyN(out, file, header.Size); errors.Is(err, io.EOF) {
		return fmt.Errorf("%s was truncated while it was read", local)
	} else if err != nil {
		return err
	}
	return nil
}

// ErrNoArchive means that a stream does not begin like a tar archive.
var ErrNoArchive = errors.New("not a tar archive, neither plain nor gzip")

// Stream reads a tar archive, with or without gzip. An empty stream is an archive without
// files.
func Stream(in io.Reader) (*tar.Reader, error) {
	begin := bufio.NewReaderSize(in, block)
	if magic, _ := begin.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		unpacked, err := gzip.NewReader(begin)
		if err != nil {
			return nil, fmt.Errorf("gzip: %w", err)
		}
		begin = bufio.NewReaderSize(unpacked, block)
	}
	head, err := begin.Peek(block)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if len(head) > 0 {
		if _, err := tar.NewReader(bytes.NewReader(head)).Next(); errors.Is(err, tar.ErrHeader) || len(head) < block {
			return nil, ErrNoArchive
		}
	}
	return tar.NewReader(begin), nil
}

// block is the size of a tar archive's blocks, in bytes.
const block = 512

// Copy copies a tar stream. It keeps only the permissions of each mode, and makes owner the
// owner of each entry. Devices and the like are left out.
func Copy(out *tar.Writer, in *tar.Reader, owner int) (Summary, error) {
	var summary Summary
	for {
		header, err := in.Next()
		if errors.Is(err, io.EOF) {
			return summary, nil
		}
		if err != nil {
			return summary, err
		}
		if path.Clean(header.Name) == "." {
			continue // the target folder stays as it is
		}
		switch header.Typeflag {
		case tar.TypeReg:
			summary.Files++
			summary.Bytes += header.Size
		case tar.TypeDir, tar.TypeSymlink, tar.TypeLink:
		default:
			summary.skip(header.Name, "not a file, folder or link")
			continue
		}
		clean := &tar.Header{
			Typeflag: header.Typeflag, Name: header.Name, Linkname: header.Linkname, Size: header.Size,
			Mode: header.Mode & permissions, Uid: owner, Gid: owner, ModTime: header.ModTime, Format: tar.FormatPAX,
		}
		if err := out.WriteHeader(clean); err != nil {
			return summary, err
		}
		if _, err := io.Copy(out, in); err != nil { //nolint:gosec // as large as its sender makes it
			return summary, err
		}
	}
}
