//! A regtest Bitcoin chain that speaks bitcoind's JSON-RPC.
//!
//! Lightning nodes take it for a bitcoind: blocks, proof of work, coinbases, lock times, the mempool and its refusals
//! follow the real rules, from the real first block of regtest. What it does beyond a bitcoind is what tests need: it
//! mines and reorganises on demand, pays any address from coins that need no key, and fails or delays calls.
//!
//! It is made of parts that know only those before them: the rules ([`check`], [`locktime`], [`params`]), the blocks
//! ([`state`]), the waiting transactions ([`mempool`]), both together ([`ledger`], pure and without a clock),
//! [`DevChain`] with clock, block file and faults, the methods of the [`rpc`] and the [`server`] with its miner.
//!
//! **Scripts are run only with the feature `scripts`**, which needs a C++ compiler. Without it a transaction with a wrong
//! signature is taken.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bitcoin::{Address, Amount, BlockHash, FeeRate, Script, Transaction, Txid};
use tokio::sync::watch;

pub mod check;
mod faults;
pub mod fund;
pub mod ledger;
pub mod locktime;
pub mod mempool;
mod miner;
pub mod params;
pub mod rpc;
#[cfg(feature = "scripts")]
mod scripts;
pub mod server;
pub mod state;
mod store;
mod template;

pub use faults::{CallRecord, MAX_DELAY};
pub use fund::FundError;
pub use ledger::{MAX_REORG_DEPTH, ReorgError};
pub use mempool::Reject;
pub use server::ChainServer;
pub use state::BlockError;
pub use store::OpenError;

use faults::Faults;
use ledger::Ledger;
use store::Store;

/// How many blocks one call mines at most. It bounds the time for which a call keeps the chain to itself.
pub const MAX_BLOCKS_PER_CALL: u32 = 1_000;

/// The user name of the RPC.
const RPC_USER: &str = "devchain";

/// How a chain is made.
#[derive(Clone, Debug)]
pub struct ChainOptions {
    /// Where blocks and the RPC password are kept. `None`: in memory only, which is the default.
    pub dir: Option<PathBuf>,
    /// How often a served chain mines a block if transactions wait; at least every hour it then mines one anyway.
    /// `None`: never by itself. The default is one second; under 10 ms is taken as 10 ms.
    pub mine_interval: Option<Duration>,
    /// The height that a chain below it is brought to when it is opened. From 100 on there is a coinbase that the next
    /// block may spend; the default is the customary 101.
    pub initial_blocks: u32,
    /// What `estimatesmartfee` answers, 1 sat/vB by default.
    pub feerate: FeeRate,
}

impl Default for ChainOptions {
    fn default() -> Self {
        Self {
            dir: None,
            mine_interval: Some(Duration::from_secs(1)),
            initial_blocks: params::COINBASE_MATURITY + 1,
            feerate: FeeRate::BROADCAST_MIN,
        }
    }
}

/// Why no block was mined.
#[derive(Debug, thiserror::Error)]
pub enum MineError {
    #[error("one call mines at most {MAX_BLOCKS_PER_CALL} blocks, not {asked}")]
    TooMany { asked: u32 },
    #[error("the block is invalid: {0}")]
    Block(#[from] BlockError),
    #[error(transparent)]
    Reorg(#[from] ReorgError),
    #[error("cannot write the block file: {0}")]
    Disk(#[source] io::Error),
}

/// Why a chain could not be made.
#[derive(Debug, thiserror::Error)]
pub enum NewChainError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("cannot mine the first blocks: {0}")]
    Mine(#[from] MineError),
    #[error("the system gives no random numbers for the RPC password: {0}")]
    Random(#[from] getrandom::Error),
    #[error("cannot keep the RPC password in {}: {source}", path.display())]
    Password { path: PathBuf, source: io::Error },
}

/// The RPC has no method of this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the chain has no RPC method {method:?}")]
pub struct UnknownMethod {
    pub method: String,
}

/// A running chain. Clones are the same chain.
///
/// Methods take a lock for the time of their work and never wait for anything else, so that they may be called from
/// async code; mining a thousand blocks takes a fraction of a second.
#[derive(Clone)]
pub struct DevChain {
    shared: Arc<Shared>,
}

/// Without the password, and without a chain's worth of text.
impl fmt::Debug for DevChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DevChain").finish_non_exhaustive()
    }
}

struct Shared {
    state: Mutex<State>,
    faults: Mutex<Faults>,
    mine_interval: watch::Sender<Option<Duration>>,
    started: Instant,
    password: String,
}

#[derive(Debug)]
struct State {
    ledger: Ledger,
    store: Option<Store>,
    feerate: FeeRate,
}

impl DevChain {
    /// Makes a chain, or opens the one that is kept in the directory, and mines up to
    /// [`initial_blocks`](ChainOptions::initial_blocks). Nothing is served or mined by itself before
    /// [`serve`](Self::serve).
    pub fn new(options: ChainOptions) -> Result<Self, NewChainError> {
        let mut ledger = Ledger::default();
        let mut store = None;
        let mut password = None;
        if let Some(dir) = &options.dir {
            store = Some(replay(dir, &mut ledger)?);
            password = Some(kept_password(dir)?);
        }
        let password = match password {
            Some(password) => password,
            None => new_password()?,
        };
        let state = State { ledger, store, feerate: options.feerate };
        let chain = Self {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                faults: Mutex::default(),
                mine_interval: watch::Sender::new(options.mine_interval),
                started: Instant::now(),
                password,
            }),
        };
        let mut missing = options.initial_blocks.saturating_sub(chain.height());
        while missing > 0 {
            let step = missing.min(MAX_BLOCKS_PER_CALL);
            chain.mine(step)?;
            missing -= step;
        }
        Ok(chain)
    }

    /// Mines blocks, the waiting transactions in the first one, and gives their hashes, lowest first.
    pub fn mine(&self, blocks: u32) -> Result<Vec<BlockHash>, MineError> {
        self.mine_to(&params::anyone_can_spend(), blocks)
    }

    /// Mines blocks that pay subsidy and fees to `payout`.
    pub fn mine_to(&self, payout: &Script, blocks: u32) -> Result<Vec<BlockHash>, MineError> {
        if blocks > MAX_BLOCKS_PER_CALL {
            return Err(MineError::TooMany { asked: blocks });
        }
        self.state().mining(|ledger| {
            let mut hashes = Vec::with_capacity(blocks as usize);
            for left in (0..blocks).rev() {
                hashes.push(ledger.mine(payout, unix_now(), left == 0)?);
            }
            Ok(hashes)
        })
    }

    /// Mines a block of exactly these transactions, in this order.
    pub fn mine_with(&self, payout: &Script, transactions: Vec<Transaction>) -> Result<BlockHash, MineError> {
        let hashes =
            self.state().mining(|ledger| Ok(vec![ledger.mine_with(payout, transactions, unix_now())?]))?;
        Ok(hashes[0])
    }

    /// Leaves the newest `depth` blocks and mines `depth + 1` empty ones in their place, so that the new tip is higher.
    /// Transactions of the blocks that were left wait in the mempool again. Gives the new blocks, lowest first.
    pub fn reorg(&self, depth: u32) -> Result<Vec<BlockHash>, MineError> {
        self.state().mining(|ledger| Ok(ledger.reorg(&params::anyone_can_spend(), depth, unix_now())?))
    }

    /// Pays an address from the chain's own coinbases. The transaction waits in the mempool afterwards.
    pub fn fund(&self, address: &Address, amount: Amount) -> Result<Txid, FundError> {
        self.fund_many(&[(address.clone(), amount)])
    }

    /// Pays several addresses in one transaction, output by output in the order given.
    pub fn fund_many(&self, payments: &[(Address, Amount)]) -> Result<Txid, FundError> {
        self.state().ledger.fund(payments, unix_now())
    }

    /// Puts a transaction into the mempool.
    pub fn submit(&self, tx: Transaction) -> Result<Txid, Reject> {
        Ok(self.state().ledger.submit(tx, unix_now())?.txid)
    }

    /// Takes a transaction out of the mempool, and all that build on it. Gives what was taken out.
    pub fn evict(&self, txid: &Txid) -> Vec<Txid> {
        self.state().ledger.evict(txid)
    }

    /// The height of the newest block.
    pub fn height(&self) -> u32 {
        self.state().ledger.chain().height()
    }

    /// The hash of the newest block.
    pub fn tip_hash(&self) -> BlockHash {
        self.state().ledger.chain().tip_hash()
    }

    /// The ids of the waiting transactions, parents before children.
    pub fn mempool(&self) -> Vec<Txid> {
        self.state().ledger.mempool().iter().map(|waiting| waiting.txid).collect()
    }

    /// A copy of blocks, coins and mempool as they are now, to look at or to try something on.
    pub fn snapshot(&self) -> Ledger {
        self.state().ledger.clone()
    }

    /// What `estimatesmartfee` answers from now on.
    pub fn set_feerate(&self, feerate: FeeRate) {
        self.state().feerate = feerate;
    }

    /// How often the chain mines by itself from now on, as in [`ChainOptions::mine_interval`].
    pub fn set_mine_interval(&self, interval: Option<Duration>) {
        self.shared.mine_interval.send_replace(interval);
    }

    /// Makes the next `calls` RPC calls of the method fail with this error code. 0 calls end it.
    pub fn fail_next(&self, method: &str, calls: u32, code: i32) -> Result<(), UnknownMethod> {
        let method = rpc::method_name(method)?;
        self.faults().fail_next(method, calls, code);
        Ok(())
    }

    /// Makes each RPC call of the method wait before it is answered, [`MAX_DELAY`] at most. Zero ends it. Only a served
    /// chain waits; [`rpc::handle`] answers at once.
    pub fn delay(&self, method: &str, delay: Duration) -> Result<(), UnknownMethod> {
        let method = rpc::method_name(method)?;
        self.faults().set_delay(method, delay);
        Ok(())
    }

    /// How many RPC calls of the method came, failed ones included.
    pub fn calls(&self, method: &str) -> u64 {
        self.faults().count(method)
    }

    /// The last thousand RPC calls, oldest first.
    pub fn call_log(&self) -> Vec<CallRecord> {
        self.faults().log().cloned().collect()
    }

    /// The user name of the RPC.
    pub fn rpc_user(&self) -> &str {
        RPC_USER
    }

    /// The password of the RPC: random, made with the chain and kept in its directory.
    pub fn rpc_password(&self) -> &str {
        &self.shared.password
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().expect("nothing panics while it holds the chain")
    }

    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.shared.faults.lock().expect("nothing panics while it holds the faults")
    }
}

impl State {
    /// Runs something that adds blocks, all of which are in the file afterwards. After a failed write nothing more is
    /// mined until the file can be written again: what is in memory is never far from what is on disk.
    fn mining(
        &mut self,
        mine: impl FnOnce(&mut Ledger) -> Result<Vec<BlockHash>, MineError>,
    ) -> Result<Vec<BlockHash>, MineError> {
        if let Some(store) = &mut self.store {
            store.flush().map_err(MineError::Disk)?;
        }
        let first_new = self.ledger.chain().known_blocks();
        let mined = mine(&mut self.ledger);
        if let Some(store) = &mut self.store {
            let new = self.ledger.chain().blocks_since(first_new);
            store.append(new).map_err(MineError::Disk)?;
        }
        mined
    }
}

fn replay(dir: &Path, ledger: &mut Ledger) -> Result<Store, OpenError> {
    let (store, records) = Store::open(dir)?;
    for record in records {
        // The clock may have been set back since; the blocks were not in its future when they were mined.
        ledger
            .accept(record.block, u32::MAX)
            .map_err(|error| store.damaged(record.offset, error.to_string()))?;
    }
    Ok(store)
}

/// The password kept in the directory, or a new one that is kept from now on. The file has the form of bitcoind's cookie
/// files: `user:password`.
fn kept_password(dir: &Path) -> Result<String, NewChainError> {
    let path = dir.join("rpc-cookie");
    match fs::read_to_string(&path) {
        Ok(cookie) => match cookie.trim_end().strip_prefix(&format!("{RPC_USER}:")) {
            Some(password) if !password.is_empty() => return Ok(password.to_owned()),
            _ => {}
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(NewChainError::Password { path, source }),
    }
    let password = new_password()?;
    store::write_private(&path, &format!("{RPC_USER}:{password}\n"))
        .map_err(|source| NewChainError::Password { path, source })?;
    Ok(password)
}

fn new_password() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(hex::encode(bytes))
}

/// The clock, in Unix seconds as block headers have it.
fn unix_now() -> u32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
}
