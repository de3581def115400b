package templates

import (
	"fmt"
	"slices"
	"strings"
)

// Profile is a named set of packages in the job root filesystem.
type Profile string

// The profiles. Each includes the one before it.
const (
	Minimal  Profile = "minimal"
	Standard Profile = "standard"
	Hosted   Profile = "hosted"
)

// Profiles returns all profiles, the smallest first.
func Profiles() []Profile { return []Profile{Minimal, Standard, Hosted} }

// Package is a package of a profile.
type Package struct {
	// Names are its names in different distributions. The first name that the
	// image's distribution has is installed.
	Names []string
	// Program is a program of the package that the build looks for; "" for none.
	Program string
	// Optional packages are left out where the distribution lacks them.
	Optional bool
}

// pack parses a package. Its program has the same name, like "git", or another, like
// "g++=gcc". Several names are for several distributions; a final "?" means optional.
func pack(text string) Package {
	text, optional := strings.CutSuffix(text, "?")
	names, program, named := strings.Cut(text, "=")
	all := strings.Split(names, "|")
	if !named {
		program = all[0]
	}
	return Package{Names: all, Program: program, Optional: optional}
}

// added holds the packages that each profile adds to the one before it. Docker's own packages
// are not included, because their names differ too much (rootfs-check).
var added = map[Profile]string{
	Minimal: `
		bsdutils=script ca-certificates=update-ca-certificates containerd curl git gnupg=gpg iproute2=ip
		iptables iputils-ping=ping jq kmod=modprobe openssh-client=ssh procps=ps unzip
		util-linux=setpriv wget xz-utils=xz zip`,
	Standard: `
		apt-utils=apt-ftparchive bzip2 file gettext-base=envsubst git-lfs less libatomic1= lsb-release=lsb_release lsof make
		netbase= netcat-openbsd=nc openssl patch psmisc=killall rsync time tree tzdata= zstd`,
	Hosted: `
		acl=setfacl ansible-core|ansible=ansible ant aria2=aria2c autoconf automake bind9-dnsutils|dnsutils=dig bison
		brotli bundler|ruby-bundler=bundle cargo clang clang-format clang-tidy cmake composer
		default-jdk-headless=javac default-mysql-client=mysql fakeroot flex
		g++ gcc gfortran gh? golang-go=go kubernetes-client=kubectl? libcurl4-openssl-dev= libffi-dev= libpq-dev=
		libsqlite3-dev= libssl-dev= libtool=libtoolize libxml2-dev= libyaml-dev= locales=locale-gen lz4 m4 maven=mvn mercurial=hg net-tools=ifconfig
		ninja-build=ninja nodejs=node npm parallel patchelf php-cli=php php-curl= php-mbstring= php-mysql= php-pgsql=
		php-sqlite3= php-xml= php-zip= pigz pipx pkgconf|pkg-config=pkg-config postgresql-client=psql
		python-is-python3=python python3 python3-dev= python3-pip=pip3 python3-venv= redis-tools=redis-cli ruby ruby-dev=
		rustc shellcheck skopeo? software-properties-common=add-apt-repository? sqlite3 sshpass swig telnet
		7zip|p7zip-full=7z xvfb=Xvfb yamllint yarnpkg? zsync`,
}

// Packages returns all packages of a profile, in order. An unknown profile has none.
func (p Profile) Packages() (all []Package) {
	for _, one := range Profiles()[:slices.Index(Profiles(), p)+1] {
		for _, text := range strings.Fields(added[one]) {
			all = append(all, pack(text))
		}
	}
	slices.SortFunc(all, func(a, b Package) int { return strings.Compare(a.Names[0], b.Names[0]) })
	return all
}

// List returns the profile for rootfs-check: lines of "NAME|NAME ! PROGRAM", with ? instead of
// ! for an optional package.
func (p Profile) List() []byte {
	var text strings.Builder
	for _, one := range p.Packages() {
		need := "!"
		if one.Optional {
			need = "?"
		}
		fmt.Fprintln(&text, strings.TrimSpace(strings.Join([]string{strings.Join(one.Names, "|"), need, one.Program}, " ")))
	}
	return []byte(text.String())
}
