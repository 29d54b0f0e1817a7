#!/usr/bin/env bash
# Installs what the end-to-end tests need and is not there yet. Idempotent, silent when there is nothing to do.
# For Debian and its children; elsewhere it says what to install. With `bench-http`: what that needs, and no browsers.
set -euo pipefail
cd "$(dirname "$0")"

# Something that each package brings, and the package.
needs=(
  "haproxy haproxy"
  "nginx nginx-light"
)
load=(
  "h2load nghttp2-client"
  "wrk wrk"
)
lab=(
  "ip iproute2"
  "nft nftables"
  "tcpdump tcpdump"
  "janus janus"
  "chromium chromium"
  "firefox-esr firefox-esr"
  "certutil libnss3-tools"
  "node nodejs"
  "npm npm"
  "openssl openssl"
  "/usr/share/javascript/janus-gateway/janus.js libjs-janus-gateway"
  "/usr/share/janus/demos/settings.js janus-demos"
  "/usr/share/javascript/webrtc-adapter/adapter.js libjs-webrtc-adapter"
)

if [[ ${1:-} == bench-http ]]; then
  needs+=("${load[@]}")
else
  needs+=("${lab[@]}")
fi

fail() {
  echo "setup: $1" >&2
  exit 1
}

missing=()
for need in "${needs[@]}"; do
  read -r proof package <<<"$need"
  [[ -e $proof ]] || command -v "$proof" >/dev/null || missing+=("$package")
done

if ((${#missing[@]})); then
  list="${missing[*]}"
  command -v apt-get >/dev/null || fail "missing: $list; there is no apt-get to install them with"
  ((EUID == 0)) || fail "missing: $list; run 'apt-get install $list' as root"
  export DEBIAN_FRONTEND=noninteractive
  install=(apt-get install --yes --no-install-recommends "${missing[@]}")
  # Package lists may be absent or stale: fetched only when the first attempt shows it.
  "${install[@]}" || { apt-get update && "${install[@]}"; } || fail "missing: $list; apt-get could not install them"
fi

[[ ${1:-} != bench-http ]] || exit 0

# npm writes the lock file that it installed from into node_modules: the same means nothing to do.
cd browser
if ! [[ node_modules/.package-lock.json -nt package-lock.json ]]; then
  npm ci --no-audit --no-fund --loglevel=error || fail "npm could not install testing/browser/package-lock.json"
fi
