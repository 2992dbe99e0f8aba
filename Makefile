# All tasks of this project. `make` alone lists them. GNU make 3.81 is enough.
.DEFAULT_GOAL := help

CARGO   ?= cargo
# PREFIX: where the binary is installed. BIN: the binary to install, for example a static one (`make static` prints its
# path).
PREFIX  ?= /usr/local
BIN     ?= $(or $(CARGO_TARGET_DIR),target)/release/iperf3-exporter
# systemd reads this folder for PREFIX=/usr/local and /usr. For another PREFIX, set a folder that systemd reads.
UNITDIR ?= $(PREFIX)/lib/systemd/system
# The folder from which a package is made; it precedes each installed path.
DESTDIR ?=
# TARGET: for `make static`, `make deb`, `make rpm`, `make image`. TARGETS: for `make dist`, `make image-push`,
# `make qemu` and the checks of a release. BENCH_ARGS: for `make bench`.
TARGET  ?= x86_64-unknown-linux-musl
TARGETS ?= x86_64-unknown-linux-musl aarch64-unknown-linux-musl armv7-unknown-linux-musleabihf
BENCH_ARGS ?=

SCRIPTS = .ci/run $(wildcard tests/scripts/*.sh) $(wildcard contrib/*.sh) $(wildcard contrib/demo/*.sh) \
          $(wildcard contrib/packaging/*.sh) $(wildcard contrib/packaging/deb/*) contrib/openwrt/iperf3-exporter.init
UNIT    = iperf3-exporter.service
# Files that are only copied: the source, and the destination below PREFIX.
SHARED  = contrib/iperf3-exporter.1:share/man/man1/iperf3-exporter.1 \
          contrib/completions/iperf3-exporter.bash:share/bash-completion/completions/iperf3-exporter \
          contrib/completions/_iperf3-exporter:share/zsh/site-functions/_iperf3-exporter \
          contrib/completions/iperf3-exporter.fish:share/fish/vendor_completions.d/iperf3-exporter.fish
# Folders of these files that a system without the shell does not have; those of zsh and man always exist.
SHARED_OWN = man/man1 bash-completion/completions bash-completion fish/vendor_completions.d fish
SCRIPTS += contrib/completions/iperf3-exporter.bash
# The name that scripts for other exporters use, as links. A file or link of another program with this name stays.
ALIASES = "$(PREFIX)/bin/iperf3_exporter" "$(UNITDIR)/iperf3_exporter.service"

.PHONY: help build demo demo-fleet test test-all check lint tools bench static install uninstall clean
.PHONY: deb rpm image image-push dist release-tag checksums qemu supply msrv release-check reproducible

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile

build: ## build the release binary
	$(CARGO) build --release

demo: ## build the exporter, probe a local iperf3 server once, print the metrics, stop both
	@sh contrib/demo/demo.sh

demo-fleet: ## three hosts measure each other for DEMO_SECONDS=60, with Prometheus and a table; KEEP=1 keeps it running
	@bash contrib/demo/demo-fleet.sh

# The tests print which of them were skipped, and why. Cargo prints how many were left to test-all. Its closing lines
# come last.
test: ## install the tools for the tests, run the quick tests; about 3 minutes on two cores
	@echo "make test: about 3 minutes on two cores, more where all crates are compiled first; what cannot run here says SKIPPED."
	@$(MAKE) --no-print-directory tools
	$(CARGO) test

test-all: ## run all tests, including the slow ones; 6 to 7 minutes
	@echo "make test-all: 6 to 7 minutes on two cores, more where all crates are compiled first; what cannot run here says SKIPPED."
	@$(MAKE) --no-print-directory tools
	@sh tests/scripts/newer-iperf3.sh >/dev/null || true
	$(CARGO) test -- --include-ignored

# Steps of one recipe, so that `make -j` cannot mix them. The tests come last, as their closing lines are the result.
check: tools ## check format, lints, scripts and units, then `make test-all`; CI also runs `make release-check`
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory test-all

lint:
	@if $(CARGO) fmt --version >/dev/null 2>&1; then echo "$(CARGO) fmt --check"; $(CARGO) fmt --check; \
	else echo "SKIPPED: the format was not checked: no rustfmt here (rustup component add rustfmt)"; fi
	@if $(CARGO) clippy --version >/dev/null 2>&1; then \
	    echo "$(CARGO) clippy --all-targets -- -D warnings"; $(CARGO) clippy --all-targets -- -D warnings && \
	    echo "$(CARGO) clippy --all-targets --no-default-features -- -D warnings" && \
	    $(CARGO) clippy --all-targets --no-default-features -- -D warnings; \
	else echo "SKIPPED: the lints were not run: no clippy here (rustup component add clippy)"; fi
	@if command -v shellcheck >/dev/null 2>&1; then echo "shellcheck $(SCRIPTS)"; shellcheck $(SCRIPTS); \
	else echo "SKIPPED: the scripts were not checked: no shellcheck here"; fi
	@sh tests/scripts/unit.sh

# A test fails if a tool of the first list is missing: without them a run would seem to cover more than it does. The
# other tools, and a second iperf3, are not available everywhere: tests that need them report that they are skipped.
tools:
	@sh contrib/packaging/need.sh iperf3 prometheus promtool curl ip jq nsenter openssl setpriv ss tc unshare
	@sh contrib/packaging/need.sh --wanted chromium busybox bash zsh fish mandoc groff lexgrog java python3 pip3 \
	    systemd-analyze systemd-socket-activate dpkg-deb

bench: ## run the benchmarks (BENCH_ARGS=...)
	$(CARGO) bench --bench bench -- $(BENCH_ARGS)

static: ## build a binary without shared libraries (TARGET=x86_64-unknown-linux-musl)
	@sh contrib/packaging/static.sh "$(TARGET)"

deb: ## make a Debian package of the static binary (TARGET=x86_64-unknown-linux-musl)
	@sh contrib/packaging/packages.sh deb "$(TARGET)"

rpm: ## make an rpm package of the static binary (TARGET=x86_64-unknown-linux-musl)
	@sh contrib/packaging/packages.sh rpm "$(TARGET)"

image: ## make the container image of contrib/Dockerfile (TARGET=x86_64-unknown-linux-musl, IMAGE=, BASE=)
	@sh contrib/packaging/image.sh "$(TARGET)"

image-push: ## push the images for TARGETS, combined under one name (IMAGE=host/name); `make dist` first
	@sh contrib/packaging/image-push.sh "$(IMAGE)" $(TARGETS)

dist: ## make the archives of a release, with checksums and SBOMs (TARGETS="x86_64-unknown-linux-musl ...")
	@sh contrib/packaging/dist.sh $(TARGETS)

release-tag: ## check that TAG, such as v1.2.3, matches the version in Cargo.toml
	@sh contrib/packaging/release-tag.sh "$(TAG)"

checksums: ## collect all files of a release in target/release-files, with SHA256SUMS; after dist, deb and rpm
	@sh contrib/packaging/release-files.sh

qemu: ## build the static binaries and run each, with qemu for other processors (TARGETS=)
	@sh contrib/packaging/qemu.sh $(TARGETS)

supply: ## check licences, sources and known vulnerabilities of all crates with cargo-deny (ADVISORY_DB=folder|fetch)
	@sh contrib/packaging/supply.sh

msrv: ## build and test with the oldest supported Rust
	@sh contrib/packaging/msrv.sh

release-check: ## make a release twice, run its binaries, install and remove its packages (TARGETS=)
	@sh contrib/packaging/release-check.sh $(TARGETS)

reproducible: ## build HEAD twice in different folders and compare the archives byte by byte (TARGETS=)
	@sh contrib/packaging/reproducible.sh $(TARGETS)

# Never builds: as root, cargo would leave root's files in target/, and root's PATH often has no cargo.
install: ## install BIN, unit, man page, completions (PREFIX=/usr/local, DESTDIR=); `make build` first
	@test -f "$(BIN)" || { echo "make install: there is no $(BIN): run 'make build' first, or set BIN=" >&2; exit 1; }
	@case "$(PREFIX)" in /*) ;; *) echo "make install: PREFIX=$(PREFIX) must begin with /" >&2; exit 1 ;; esac
	install -d "$(DESTDIR)$(PREFIX)/bin" "$(DESTDIR)$(UNITDIR)"
	install -m 755 "$(BIN)" "$(DESTDIR)$(PREFIX)/bin/iperf3-exporter"
	sed 's|/usr/local/bin/iperf3-exporter|$(PREFIX)/bin/iperf3-exporter|' $(UNIT) >"$(DESTDIR)$(UNITDIR)/$(UNIT)"
	chmod 644 "$(DESTDIR)$(UNITDIR)/$(UNIT)"
	@set -e; for pair in $(SHARED); do \
	    to="$(DESTDIR)$(PREFIX)/$${pair#*:}"; \
	    echo "install -m 644 $${pair%%:*} $$to"; \
	    install -d "$$(dirname "$$to")"; install -m 644 "$${pair%%:*}" "$$to"; \
	done
	@set -e; for alias in $(ALIASES); do \
	    to="$(DESTDIR)$$alias"; of="iperf3-exporter$${alias##*/iperf3_exporter}"; \
	    if [ "$$(readlink "$$to")" != "$$of" ] && { [ -e "$$to" ] || [ -L "$$to" ]; }; then \
	        echo "$$to belongs to another program and stays as it is"; \
	    else echo "ln -sfn $$of $$to"; ln -sfn "$$of" "$$to"; fi; \
	done
	@if [ -z "$(DESTDIR)" ]; then echo "Start it: systemctl daemon-reload && systemctl enable --now iperf3-exporter"; fi

# Empty directories are removed too: all of them below DESTDIR; of the system's own only those for shared files, as
# /usr/local/bin exists on a new system too and is empty.
uninstall: ## remove what `make install` installed
	rm -f "$(DESTDIR)$(PREFIX)/bin/iperf3-exporter" "$(DESTDIR)$(UNITDIR)/$(UNIT)"
	@for alias in $(ALIASES); do \
	    to="$(DESTDIR)$$alias"; \
	    if [ "$$(readlink "$$to")" = "iperf3-exporter$${alias##*/iperf3_exporter}" ]; then \
	        echo "rm -f $$to"; rm -f "$$to"; \
	    fi; \
	done
	@for pair in $(SHARED); do \
	    echo "rm -f $(DESTDIR)$(PREFIX)/$${pair#*:}"; rm -f "$(DESTDIR)$(PREFIX)/$${pair#*:}"; \
	done
	@if [ -n "$(DESTDIR)" ]; then \
	    cd "$(DESTDIR)" 2>/dev/null || exit 0; \
	    for dir in "$(PREFIX)/bin" "$(UNITDIR)"; do rmdir -p "$${dir#/}" 2>/dev/null || true; done; \
	    for pair in $(SHARED); do \
	        dir=$$(dirname "$(PREFIX)/$${pair#*:}"); rmdir -p "$${dir#/}" 2>/dev/null || true; \
	    done; \
	else \
	    rmdir "$(UNITDIR)" 2>/dev/null && rmdir "$$(dirname "$(UNITDIR)")" 2>/dev/null || true; \
	    for dir in $(SHARED_OWN); do rmdir "$(PREFIX)/share/$$dir" 2>/dev/null || true; done; \
	    echo "If it runs: systemctl disable --now iperf3-exporter; systemctl daemon-reload"; \
	fi

clean: ## remove all build results of cargo
	$(CARGO) clean
