# `make help` lists what there is.
.DEFAULT_GOAL := help
.PHONY: help run setup test bench bench-http check

help: ## Show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## Build xrtc and run it on its embedded default: http://localhost:6443/
	cargo build --release --locked
	$${CARGO_TARGET_DIR:-target}/release/xrtc run

setup: ## Install what the end-to-end tests need (Debian; as root where something is missing)
	./testing/setup.sh

test: setup ## Run every test, those with real servers and browsers included (as root)
	cargo build --workspace --locked
	cargo test --workspace --locked --no-fail-fast

bench: ## Print size, memory and forwarding speed of the release build (as root, for a network of its own)
	cargo build --release --locked
	cargo run --release --locked -p xrtc-testing --example figures

bench-http: ## Print how fast HTTP and WebSockets go through xrtc, nginx and haproxy, side by side
	./testing/setup.sh bench-http
	cargo build --release --locked
	cargo run --release --locked -p xrtc-testing --example bench_http

check: ## Check format, lints, documentation, the law of dependencies, licences
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items --locked
	cargo test -p xrtc-testing --test dependency_law --locked
	cargo deny --version >/dev/null 2>&1 || cargo install cargo-deny --locked --debug
	cargo deny --locked check bans licenses sources
