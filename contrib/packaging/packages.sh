#!/bin/sh
# packages.sh deb|rpm TARGET: makes the package with the static binary for TARGET in target/packages, and prints its
# path. It uses dpkg-deb and rpmbuild, the distributions' own tools: cargo-deb and cargo-generate-rpm took 100 s and
# more to compile, and each needs its own list of files. The same commit makes the same bytes.
#     STAGE=folder      an existing folder of stage.sh, which is not changed
#     VERSION=1.2.3     instead of the one in Cargo.toml
#     MAINTAINER='Name <mail>'   the maintainer of the .deb
#     REPOSITORY=https://…       instead of the one in Cargo.toml (repository.sh)
set -eu

readonly name=iperf3-exporter

main() {
    kind=${1:-} target=${2:-}
    case $kind:$target in
        deb:?* | rpm:?*) ;;
        *) echo "usage: packages.sh deb|rpm TARGET" >&2; exit 2 ;;
    esac
    staged=''
    [ -z "${STAGE:-}" ] || staged=$(cd "$STAGE" && pwd)
    cd "$(dirname "$0")/../.."
    umask 022
    case $kind in
        deb) sh contrib/packaging/need.sh dpkg-deb ;;
        rpm) sh contrib/packaging/need.sh rpmbuild ;;
    esac
    # 1.0.0-rc.1 comes before 1.0.0, which these tools know only with a tilde.
    version=${VERSION:-$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)}
    version=$(echo "$version" | tr - '~')
    epoch=$(sh contrib/packaging/epoch.sh)
    export SOURCE_DATE_EPOCH="$epoch"
    repository=$(sh contrib/packaging/repository.sh)
    packages=${CARGO_TARGET_DIR:-target}/packages
    mkdir -p "$packages"
    packages=$(cd "$packages" && pwd)
    dir=$(mktemp -d)
    chmod 755 "$dir" # it becomes the package's top folder
    trap 'rm -rf "$dir"' EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM

    if [ -n "$staged" ]; then
        cp -R "$staged" "$dir/stage"
    else
        sh contrib/packaging/stage.sh "$target" "$dir/stage"
    fi
    mv "$dir/stage/share" "$dir/share"
    stage=$dir/stage doc=$dir/stage/usr/share/doc/$name
    "$kind"
}

deb() {
    case $target in
        x86_64-*) arch=amd64 ;;
        aarch64-*) arch=arm64 ;;
        armv7-*) arch=armhf ;;
        i686-*) arch=i386 ;;
        *) give_up "no name of Debian's for $target" ;;
    esac
    maintainer=${MAINTAINER:-iperf3-exporter developers <developers@iperf3-exporter.invalid>}
    # Debian's places and names for files that every package has.
    {
        printf 'iperf3-exporter is under the MIT licence:\n\n'
        cat LICENSE
        printf '\nThe licences of what is linked into it are in THIRD-PARTY-LICENCES.gz and RUST-STANDARD-LIBRARY.html.gz, '
        printf 'beside this file.\n'
    } >"$doc/copyright"
    mv "$doc/CHANGELOG.md" "$doc/changelog"
    cat >"$doc/changelog.Debian" <<END
$name ($version-1) unstable; urgency=medium

  * changelog.gz lists the changes.

 -- $maintainer  $(LC_ALL=C date -u -R -d "@$SOURCE_DATE_EPOCH")
END
    cp "$dir/share/THIRD-PARTY-LICENCES" "$dir/share/RUST-STANDARD-LIBRARY.html" "$dir/share/sbom.cdx.json" "$doc/"
    gzip -9n "$doc/changelog" "$doc/changelog.Debian" "$doc/THIRD-PARTY-LICENCES" "$doc/RUST-STANDARD-LIBRARY.html"
    find "$stage" -type d -exec chmod 755 {} +
    find "$stage" -type f -exec chmod go-w {} +
    size_kib=$(du -sk --apparent-size "$stage" | cut -f 1)
    mkdir "$stage/DEBIAN"
    (cd "$stage" && find usr -type f | LC_ALL=C sort | xargs -d '\n' md5sum) >"$stage/DEBIAN/md5sums"
    echo "/etc/default/$name" >"$stage/DEBIAN/conffiles"
    cp contrib/packaging/deb/postinst contrib/packaging/deb/prerm contrib/packaging/deb/postrm "$stage/DEBIAN/"
    {
        cat <<END
Package: $name
Version: $version-1
Architecture: $arch
Maintainer: $maintainer
Installed-Size: $size_kib
Depends: iperf3
Suggests: prometheus
Section: net
Priority: optional
END
        [ -z "$repository" ] || echo "Homepage: $repository"
        cat <<END
Description: Prometheus exporter that runs iperf3 on each scrape
 Runs iperf3 against a target on each scrape of Prometheus, one test at a time,
 and reports what the network did: goodput in both directions, loss, jitter,
 retransmits, round-trip times, and why a test failed.
 .
 Flags go into /etc/default/iperf3-exporter.
END
    } >"$stage/DEBIAN/control"
    chmod 644 "$stage/DEBIAN"/*
    chmod 755 "$stage/DEBIAN/postinst" "$stage/DEBIAN/prerm" "$stage/DEBIAN/postrm"
    find "$stage" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
    package=$packages/${name}_$version-1_$arch.deb
    dpkg-deb --root-owner-group -Zxz -z9 --build "$stage" "$package" >/dev/null || give_up "dpkg-deb failed"
    echo "$package"
}

rpm() {
    case $target in
        armv7-*) arch=armv7hl ;;
        x86_64-* | aarch64-* | i686-*) arch=${target%%-*} ;;
        *) give_up "no name of rpm's for $target" ;;
    esac
    # Fedora's places.
    if [ -d "$stage/usr/share/zsh/vendor-completions" ]; then
        mv "$stage/usr/share/zsh/vendor-completions" "$stage/usr/share/zsh/site-functions"
    fi
    licences=usr/share/licenses/$name
    mkdir -p "$stage/$licences"
    cp LICENSE "$dir/share/THIRD-PARTY-LICENCES" "$dir/share/RUST-STANDARD-LIBRARY.html" "$stage/$licences/"
    cp "$dir/share/sbom.cdx.json" "$doc/"
    chmod 644 "$stage/$licences"/* "$doc/sbom.cdx.json"
    find "$stage" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
    # Only the folders that belong to this package alone.
    (
        cd "$stage"
        find "usr/share/doc/$name" "$licences" -type d | sed 's|^|%dir "/|; s|$|"|'
        find . ! -type d | sed 's|^\.||' | while IFS= read -r file; do
            case $file in
                /etc/*) echo "%config(noreplace) \"$file\"" ;;
                /usr/share/doc/*) echo "%doc \"$file\"" ;;
                /usr/share/licenses/*) echo "%license \"$file\"" ;;
                *) echo "\"$file\"" ;;
            esac
        done
    ) | LC_ALL=C sort >"$dir/stage.files"
    # With explicit folders: rpmbuild chooses its own otherwise.
    rpmbuild -bb --quiet --target "$arch-linux" -D "_topdir $dir/rpm" -D "_rpmdir $dir/rpms" -D "stage $stage" \
        -D "package_version $version" ${repository:+-D "package_url $repository"} \
        "contrib/packaging/$name.spec" >"$dir/log" 2>&1 ||
        { cat "$dir/log" >&2; give_up "rpmbuild failed"; }
    for made in "$dir"/rpms/*/*.rpm; do
        mv "$made" "$packages/"
        echo "$packages/$(basename "$made")"
    done
}

give_up() {
    echo "packages.sh: $1" >&2
    exit 1
}

main "$@"
