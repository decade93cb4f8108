//! Waits until a peer listens and makes sure that it does what its scenario says: `check SOCKET SCENARIO`.
#![forbid(unsafe_code)]

use tamis::BoxError;
use tamis_peers::arguments;
use tamis_peers::check::check;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let (socket, scenario) = arguments();
    check(&socket, scenario).await
}
