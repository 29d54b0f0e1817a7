//! A description taken apart: the session part, the media sections, and what each says about ICE.
//!
//! Also reads SDP fragments (RFC 8840 section 9), where the session part may hold all there is.

use std::collections::BTreeMap;
use std::ops::Range;

use super::candidate::Candidate;
use super::line::{Line, lines};

/// More lines than this are no description that xrtc reads.
pub const MAX_LINES: usize = 16_384;
/// More media sections than this are no description that xrtc reads.
pub const MAX_SECTIONS: usize = 512;

/// The text has more than [`MAX_LINES`] lines or [`MAX_SECTIONS`] media sections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the description is too large")]
pub struct Oversize;

/// An ice-ufrag and its ice-pwd, as a peer wrote them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct IceCredentials<'a> {
    /// `a=ice-ufrag`
    pub ufrag: &'a str,
    /// `a=ice-pwd`; fragments may leave it out.
    pub pwd: Option<&'a str>,
}

impl std::fmt::Debug for IceCredentials<'_> {
    /// Leaves the password out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IceCredentials")
            .field("ufrag", &self.ufrag)
            .finish_non_exhaustive()
    }
}

/// The session part or one media section.
#[derive(Clone, Debug, Default)]
pub struct Section<'a> {
    /// Its lines, as indices into [`Description::lines`].
    pub lines: Range<usize>,
    /// The value of its `m=` line; `None` for the session part.
    pub media: Option<&'a str>,
    /// `a=mid`
    pub mid: Option<&'a str>,
    /// The BUNDLE group that it is in, by its place among them.
    pub bundle: Option<usize>,
    /// Its own ice-ufrag and ice-pwd, not what it inherits.
    pub ufrag: Option<&'a str>,
    /// See `ufrag`.
    pub pwd: Option<&'a str>,
    /// `a=setup`
    pub setup: Option<&'a str>,
    /// Its `a=candidate` lines, legal or not.
    pub candidates: Vec<&'a str>,
    /// `a=end-of-candidates`
    pub end_of_candidates: bool,
    /// `a=rtcp-mux`
    pub rtcp_mux: bool,
    /// `a=bundle-only`
    pub bundle_only: bool,
    /// `a=ice-lite`
    pub lite: bool,
}

impl<'a> Section<'a> {
    /// The port of its `m=` line.
    #[must_use]
    pub fn port(&self) -> Option<&'a str> {
        let port = self.media?.split_ascii_whitespace().nth(1)?;
        Some(port.split_once('/').map_or(port, |(port, _count)| port))
    }

    /// Whether it carries RTP, by its `m=` line.
    #[must_use]
    pub fn is_rtp(&self) -> bool {
        self.media
            .and_then(|media| media.split_ascii_whitespace().nth(2))
            .is_some_and(|protocol| protocol.contains("RTP"))
    }

    /// Whether it was rejected or stopped: port 0, and not because it waits for its BUNDLE group.
    #[must_use]
    pub fn is_rejected(&self) -> bool {
        self.port().is_some_and(is_zero) && !self.bundle_only
    }

    /// Its candidates, as far as they are legal.
    pub fn candidates(&self) -> impl Iterator<Item = Candidate<'a>> {
        self.candidates.iter().filter_map(|line| Candidate::parse(line))
    }

    fn note(&mut self, line: &Line<'a>) {
        let slots = [
            ("ice-ufrag", &mut self.ufrag),
            ("ice-pwd", &mut self.pwd),
            ("mid", &mut self.mid),
            ("setup", &mut self.setup),
        ];
        for (name, slot) in slots {
            let value = || line.attribute(name).filter(|value| !value.is_empty());
            *slot = slot.or_else(value);
        }
        if line.attribute("candidate").is_some() {
            self.candidates.push(line.content);
        }
        self.end_of_candidates |= line.is_flag("end-of-candidates");
        self.rtcp_mux |= line.is_flag("rtcp-mux") || line.is_flag("rtcp-mux-only");
        self.bundle_only |= line.is_flag("bundle-only");
        self.lite |= line.is_flag("ice-lite");
    }
}

/// Whether a port is written as zero.
pub(super) fn is_zero(port: &str) -> bool {
    port.parse() == Ok(0_u16)
}

/// A description or a fragment of one.
#[derive(Clone, Debug)]
pub struct Description<'a> {
    /// All lines.
    pub lines: Vec<Line<'a>>,
    /// The session part, then the media sections in order.
    pub sections: Vec<Section<'a>>,
    /// It has no `v=` line.
    pub is_fragment: bool,
    /// The line end to write with beside a line that has none: the first one in the text.
    pub eol: &'static str,
}

impl<'a> Description<'a> {
    /// Takes a text apart. Every text is a description; most say nothing.
    ///
    /// # Errors
    /// [`Oversize`], so that memory stays within a small multiple of the text.
    pub fn parse(text: &'a str) -> Result<Self, Oversize> {
        let mut sections = vec![Section::default()];
        let mut all = Vec::new();
        let mut groups = Vec::new();
        for (index, line) in lines(text).enumerate() {
            if index >= MAX_LINES || sections.len() > MAX_SECTIONS {
                return Err(Oversize);
            }
            if let Some(media) = line.value('m') {
                sections.push(Section {
                    lines: index..index,
                    media: Some(media),
                    ..Section::default()
                });
            }
            if let Some(section) = sections.last_mut() {
                section.note(&line);
                section.lines.end = index + 1;
            }
            groups.extend(bundle(&line));
            all.push(line);
        }
        join_bundles(&mut sections, &groups);
        let eol = all.first().and_then(Line::eol).unwrap_or("\r\n");
        Ok(Self {
            is_fragment: !all.iter().any(|line| line.value('v').is_some()),
            lines: all,
            sections,
            eol,
        })
    }

    /// Whether it says anything about ICE.
    #[must_use]
    pub fn concerns_ice(&self) -> bool {
        let speaks = |section: &Section<'_>| section.ufrag.is_some() || !section.candidates.is_empty();
        self.sections.iter().any(speaks)
    }

    /// Whether it says `a=ice-lite`, at whatever level.
    #[must_use]
    pub fn is_lite(&self) -> bool {
        self.sections.iter().any(|section| section.lite)
    }

    /// Whether it looks like an offer: only offers leave the DTLS role open (RFC 8842 section 5.2).
    #[must_use]
    pub fn looks_like_offer(&self) -> bool {
        self.sections
            .iter()
            .any(|section| section.setup == Some("actpass"))
    }

    /// Whether a section may carry media: a media section that is not rejected. In a fragment ports mean nothing, and
    /// the session part counts if there are no media sections.
    #[must_use]
    pub fn is_active(&self, index: usize) -> bool {
        let section = &self.sections[index];
        if self.is_fragment {
            section.media.is_some() || self.sections.len() == 1
        } else {
            section.media.is_some() && !section.is_rejected()
        }
    }

    /// The section whose credentials apply to this one: itself, the session part, or the first of its BUNDLE group
    /// that has any (RFC 9143 section 7.1.3 lets the others leave them out).
    #[must_use]
    pub fn credentials_section(&self, index: usize) -> Option<usize> {
        let has = |&other: &usize| self.sections[other].ufrag.is_some();
        let group = self.sections[index].bundle;
        let bundled =
            || (1..self.sections.len()).find(|other| has(other) && self.sections[*other].bundle == group);
        [index, 0]
            .into_iter()
            .find(has)
            .or_else(|| group.and_then(|_| bundled()))
    }

    /// The credentials that a section states itself.
    #[must_use]
    pub fn own_credentials(&self, index: usize) -> Option<IceCredentials<'a>> {
        let section = &self.sections[index];
        let ufrag = section.ufrag?;
        Some(IceCredentials {
            ufrag,
            pwd: section.pwd,
        })
    }

    /// The sections that candidates belong in: the active ones that have candidates now or, where none has, all active
    /// ones with credentials.
    #[must_use]
    pub fn candidate_sections(&self) -> Vec<usize> {
        let active = |index: &usize| self.is_active(*index);
        let sections = 0..self.sections.len();
        let with: Vec<_> = sections
            .clone()
            .filter(active)
            .filter(|&index| !self.sections[index].candidates.is_empty())
            .collect();
        if with.is_empty() {
            sections
                .filter(active)
                .filter(|&index| self.credentials_section(index).is_some())
                .collect()
        } else {
            with
        }
    }
}

/// Tells every section its group. A mid belongs to the first group that names it.
fn join_bundles(sections: &mut [Section<'_>], groups: &[&str]) {
    let mut by_mid = BTreeMap::new();
    for (group, mids) in groups.iter().enumerate() {
        for mid in mids.split_ascii_whitespace() {
            by_mid.entry(mid).or_insert(group);
        }
    }
    for section in sections {
        section.bundle = section.mid.and_then(|mid| by_mid.get(mid).copied());
    }
}

/// The mids of a BUNDLE group.
fn bundle<'a>(line: &Line<'a>) -> Option<&'a str> {
    let mids = line.attribute("group")?.strip_prefix("BUNDLE")?;
    mids.starts_with([' ', '\t']).then_some(mids)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = "v=0\no=- 1 1 IN IP4 10.0.0.1\na=group:BUNDLE a d\na=ice-ufrag:SESS\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111\na=mid:a\na=ice-ufrag:AUDI\na=ice-pwd:p\na=rtcp-mux\na=setup:active\n\
        m=video 0 UDP/TLS/RTP/SAVPF 96\na=mid:v\n\
        m=application 0 UDP/DTLS/SCTP webrtc-datachannel\na=mid:d\na=bundle-only\n";

    #[test]
    fn sections_and_their_facts() {
        let sdp = Description::parse(ANSWER).expect("small");
        assert_eq!(sdp.sections.len(), 4);
        assert_eq!(sdp.eol, "\n");
        assert!(!sdp.is_fragment && !sdp.is_lite() && !sdp.looks_like_offer());
        assert_eq!(sdp.own_credentials(1).map(|own| own.ufrag), Some("AUDI"));
        assert!(sdp.sections[1].is_rtp() && sdp.sections[1].rtcp_mux);
        assert!(!sdp.sections[3].is_rtp());
    }

    #[test]
    fn port_zero_is_rejected_unless_bundle_only() {
        let sdp = Description::parse(ANSWER).expect("small");
        let active: Vec<_> = (0..4).map(|index| sdp.is_active(index)).collect();
        assert_eq!(active, [false, true, false, true]);
    }

    #[test]
    fn credentials_come_from_the_section_the_session_or_the_bundle() {
        let sdp = Description::parse(ANSWER).expect("small");
        assert_eq!(sdp.credentials_section(1), Some(1));
        assert_eq!(sdp.credentials_section(3), Some(0));
        let text = ANSWER.replace("a=ice-ufrag:SESS\n", "");
        let sdp = Description::parse(&text).expect("small");
        assert_eq!(sdp.credentials_section(3), Some(1));
        assert_eq!(sdp.credentials_section(2), None);
    }

    #[test]
    fn candidates_go_where_they_were_or_else_everywhere_active() {
        let sdp = Description::parse(ANSWER).expect("small");
        assert_eq!(sdp.candidate_sections(), [1, 3]);
        let text = ANSWER.replace("a=rtcp-mux\n", "a=candidate:1 1 udp 1 10.0.0.1 7 typ host\n");
        assert_eq!(
            Description::parse(&text).expect("small").candidate_sections(),
            [1]
        );
    }

    #[test]
    fn a_fragment_without_media_sections_is_all_session_part() {
        let sdp = Description::parse("a=ice-ufrag:U\r\na=ice-pwd:P\r\n").expect("small");
        assert!(sdp.is_fragment && sdp.is_active(0));
        assert_eq!(sdp.candidate_sections(), [0]);
    }

    #[test]
    fn size_is_bounded() {
        assert_eq!(
            Description::parse(&"\n".repeat(MAX_LINES + 1)).err(),
            Some(Oversize)
        );
        assert_eq!(
            Description::parse(&"m=\n".repeat(MAX_SECTIONS + 2)).err(),
            Some(Oversize)
        );
    }
}
