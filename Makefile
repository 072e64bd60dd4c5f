# What people do with Diwan. Each target first says what it fetches and why; everything fetched lies in .diwan/.

CARGO ?= cargo
# `make run PROFILE=release` builds what production runs; the default builds faster.
PROFILE ?= dev
TARGET := $(if $(filter dev,$(PROFILE)),debug,$(PROFILE))

.PHONY: help run demo test test-chaos test-archiving test-mutation bench check format protos protos-image sqlx clean

help:
	@echo "make run     start Diwan on this machine (Ctrl-C ends it)"
	@echo "make demo    the whole path once, with real mail servers on loopback (needs root)"
	@echo "make test    every test"
	@echo "make test-chaos     200,000 random operations while replicas are killed, then a recount (ARGS='--seed 7')"
	@echo "make test-archiving 100,000 open conversations change teams while agents work and a replica is killed, then a recount"
	@echo "make test-mutation  takes each predicate of the claim and each lock away: some test has to notice"
	@echo "make bench   the figures and their bars, release build (PART=gateway for one part; a quiet machine)"
	@echo "make check   format, lints, protos, queries, then every test"
	@echo "make sqlx    write down what the databases say of each query, after a change of SQL"

run: postgres grpcurl
	$(CARGO) build --profile $(PROFILE) -p diwan-suite
	@exec target/$(TARGET)/diwan run

demo: postgres mail
	$(CARGO) build --profile $(PROFILE) -p diwan-suite -p diwan-e2e
	@exec target/$(TARGET)/diwan-demo

test: postgres mail grpcurl grpcio
	$(CARGO) build --workspace --bins
	deploy/local/test.sh

# A release build, so that the chaos is in the service and not in the waiting for it.
test-chaos: postgres
	$(CARGO) build --release --workspace --bins
	@exec target/release/diwan-chaos $(ARGS)

# Archiving under load at the size that docs/decisions/archiving.md speaks of; CONVERSATIONS is another one.
test-archiving: postgres
	@deploy/local/archiving.sh $(or $(CONVERSATIONS),100000)

test-mutation: postgres
	@exec deploy/local/mutation.sh $(ARGS)

bench: postgres envoy
	@deploy/local/debian-packages.sh bench
	$(CARGO) build --release --workspace --bins
	@exec target/release/diwan-bench $(PART)

check: format protos
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	deploy/local/sqlx.sh check
	$(MAKE) test

format:
	$(CARGO) fmt --all --check

protos: buf
	deploy/local/protos.sh

# After a release: what has been released must not be broken by what comes.
protos-image: buf
	cd proto && ../.diwan/bin/buf build -o released.binpb

sqlx:
	deploy/local/sqlx.sh prepare

clean:
	rm -rf .diwan target

.PHONY: postgres mail grpcurl buf grpcio envoy
postgres:
	@deploy/local/postgres.sh >/dev/null
mail:
	@deploy/local/debian-packages.sh mail >/dev/null
grpcurl buf grpcio envoy:
	@deploy/local/tools.sh $@
