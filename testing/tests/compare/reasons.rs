//! Why there is a difference.

/// In place of a case: wherever the field differs and the case has no reason of its own.
pub(crate) const EVERYWHERE: &str = "*";

/// The reason of a difference.
pub(crate) struct Reason {
    pub(crate) case: &'static str,
    pub(crate) field: &'static str,
    pub(crate) why: &'static str,
}

/// The reason for a field of a case.
pub(crate) fn of(case: &str, field: &str) -> Option<&'static Reason> {
    let find = |case: &str| {
        ALL.iter()
            .find(|reason| reason.case == case && reason.field == field)
    };
    find(case).or_else(|| find(EVERYWHERE))
}

const fn everywhere(field: &'static str, why: &'static str) -> Reason {
    Reason {
        case: EVERYWHERE,
        field,
        why,
    }
}

const fn reason(case: &'static str, field: &'static str, why: &'static str) -> Reason {
    Reason { case, field, why }
}

/// Every reason.
pub(crate) const ALL: &[Reason] = &[];
