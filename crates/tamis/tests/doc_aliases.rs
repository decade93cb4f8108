//! Whoever knows the C library finds its names in the documentation.

use std::fs;
use std::path::Path;

/// The names of libmilter's functions, callbacks, results and of the codes on the wire, as `docs/protocol.md` and
/// libmilter's headers have them.
const NAMES: &str = "
    smfi_addheader smfi_addrcpt smfi_addrcpt_par smfi_chgfrom smfi_chgheader smfi_delrcpt smfi_getpriv smfi_getsymval
    smfi_insheader smfi_main smfi_opensocket smfi_progress smfi_quarantine smfi_register smfi_replacebody
    smfi_set_max_exec_time smfi_setbacklog smfi_setconn smfi_setdbg smfi_setmaxdatasize smfi_setmlreply smfi_setpriv
    smfi_setreply smfi_setsymlist smfi_settimeout smfi_stop smfi_version

    xxfi_abort xxfi_body xxfi_close xxfi_connect xxfi_data xxfi_envfrom xxfi_envrcpt xxfi_eoh xxfi_eom xxfi_flags
    xxfi_header xxfi_helo xxfi_name xxfi_negotiate xxfi_unknown xxfi_version

    SMFIC_ABORT SMFIC_BODY SMFIC_BODYEOB SMFIC_CONNECT SMFIC_DATA SMFIC_EOH SMFIC_HEADER SMFIC_HELO SMFIC_MACRO
    SMFIC_MAIL SMFIC_OPTNEG SMFIC_QUIT SMFIC_QUIT_NC SMFIC_RCPT SMFIC_UNKNOWN

    SMFIR_ACCEPT SMFIR_ADDHEADER SMFIR_ADDRCPT SMFIR_ADDRCPT_PAR SMFIR_CHGFROM SMFIR_CHGHEADER SMFIR_CONN_FAIL
    SMFIR_CONTINUE SMFIR_DELRCPT SMFIR_DISCARD SMFIR_INSHEADER SMFIR_PROGRESS SMFIR_QUARANTINE SMFIR_REJECT
    SMFIR_REPLBODY SMFIR_REPLYCODE SMFIR_SETSYMLIST SMFIR_SHUTDOWN SMFIR_SKIP SMFIR_TEMPFAIL

    SMFIS_ACCEPT SMFIS_ALL_OPTS SMFIS_CONTINUE SMFIS_DISCARD SMFIS_NOREPLY SMFIS_REJECT SMFIS_SKIP SMFIS_TEMPFAIL

    SMFIF_ADDHDRS SMFIF_ADDRCPT SMFIF_ADDRCPT_PAR SMFIF_CHGBODY SMFIF_CHGFROM SMFIF_CHGHDRS SMFIF_DELRCPT
    SMFIF_MODBODY SMFIF_NONE SMFIF_QUARANTINE SMFIF_SETSYMLIST

    SMFIP_HDR_LEADSPC SMFIP_NOBODY SMFIP_NOCONNECT SMFIP_NODATA SMFIP_NOEOH SMFIP_NOHDRS SMFIP_NOHELO SMFIP_NOHREPL
    SMFIP_NOMAIL SMFIP_NORCPT SMFIP_NOUNKNOWN SMFIP_NR_BODY SMFIP_NR_CONN SMFIP_NR_DATA SMFIP_NR_EOH SMFIP_NR_HDR
    SMFIP_NR_HELO SMFIP_NR_MAIL SMFIP_NR_RCPT SMFIP_NR_UNKN SMFIP_RCPT_REJ SMFIP_SKIP

    SMFIM_CONNECT SMFIM_DATA SMFIM_ENVFROM SMFIM_ENVRCPT SMFIM_EOH SMFIM_EOM SMFIM_HELO

    MI_FAILURE MI_SUCCESS
";

#[test]
fn every_name_of_the_c_library_is_an_alias() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut source = String::new();
    for name in ["proto", "tamis", "macros"] {
        read_all(&crates.join(name).join("src"), &mut source);
    }
    let is_missing = |name: &&str| !source.contains(&format!("#[doc(alias = \"{name}\")]"));
    let missing: Vec<_> = NAMES.split_whitespace().filter(is_missing).collect();
    assert!(missing.is_empty(), "not in any #[doc(alias = …)]: {}", missing.join(" "));
}

/// The list is not shorter than what the reference speaks of.
#[test]
fn every_name_in_the_protocol_reference_is_listed() {
    let reference =
        fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/protocol.md")).unwrap();
    let known: Vec<_> = NAMES.split_whitespace().collect();
    let words = reference.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    let is_name = |word: &&str| {
        let prefixes = ["smfi_", "xxfi_", "SMFIC_", "SMFIR_", "SMFIS_", "SMFIF_", "SMFIP_", "SMFIM_"];
        // What ends so is the beginning of several names.
        prefixes.iter().any(|prefix| word.starts_with(prefix)) && !word.ends_with('_')
    };
    let unlisted: Vec<_> = words.filter(is_name).filter(|word| !known.contains(word)).collect();
    assert!(unlisted.is_empty(), "in docs/protocol.md and not in the list: {unlisted:?}");
}

fn read_all(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_all(&path, text);
        } else {
            text.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}
