//! Opens a page in the user's browser.

use std::process::{Command, Stdio};

use url::Url;

/// Hands an address to the system; says whether something took it. What stands in the address can be seen by others of this
/// machine, so it must be worthless to them.
pub(crate) fn open(address: &Url) -> bool {
    let (program, before): (&str, &[&str]) = if cfg!(target_os = "macos") {
        ("open", &[])
    } else if cfg!(windows) {
        ("rundll32", &["url.dll,FileProtocolHandler"])
    } else {
        ("xdg-open", &[])
    };
    let mut command = Command::new(program);
    command.args(before).arg(address.as_str()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    match command.spawn() {
        Ok(mut child) => {
            // It may live as long as the browser: somebody has to hear of its end.
            std::thread::spawn(move || child.wait());
            true
        }
        Err(_) => false,
    }
}
