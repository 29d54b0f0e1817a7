//! The fake SSL handshake of libwebrtc's `ssltcp` candidates (`rtc_base/socket_adapters.cc`): one fixed hello each
//! way, without any encryption, and RFC 4571 frames after it.

/// The length of the client's hello. What it begins with has been looked at by `wire::sniff`; the rest means nothing.
pub(super) const CLIENT_HELLO_LEN: usize = 72;

/// The ServerHello that the client compares byte by byte.
pub(super) const SERVER_HELLO: [u8; 79] = *b"\x16\x03\x01\x00\x4a\x02\x00\x00\x46\x03\x01\
    \x42\x85\x45\xa7\x27\xa9\x5d\xa0\xb3\xc5\xe7\x53\xda\x48\x2b\x3f\
    \xc6\x5a\xca\x89\xc1\x58\x52\xa1\x78\x3c\x5b\x17\x46\x00\x85\x3f\x20\
    \x0e\xd3\x06\x72\x5b\x5b\x1b\x5f\x15\xac\x13\xf9\x88\x53\x9d\x9b\
    \xe8\x3d\x7b\x0c\x30\x32\x6e\x38\x4d\xa2\x75\x57\x41\x6c\x34\x5c\
    \x00\x04\x00";
