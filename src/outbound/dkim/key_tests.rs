//! Keys go through PEM and back; what is no key is refused. The PEM files here were made for these
//! tests by OpenSSL and protect nothing.

use super::*;

/// `openssl genpkey -algorithm ed25519`
const ED25519: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIGs8/qRfJcN2SRsADMNxYtMLtRnwebgQ7nGHR31dlF0p
-----END PRIVATE KEY-----
";
/// `openssl rsa -in rsa.pem -traditional`, of 2048 bits
const PKCS1: &str = "-----BEGIN RSA PRIVATE KEY-----
MIIEogIBAAKCAQEAzr9A3gzxwzRnDwZNMNvJlrktqX5InMOG9mVrSPhLZgUHC0+t
n3SaMkLcTkndxdbtmR4/rl+ZWcTW+mCUfZn6cDiU/aDDE8E2Q2zmatMwrsEGi1lW
Zx155tniM1Y2XZZOtkM56AdLrtAcwzbfP5Kb5/V5hhJsmnLYDsLru5kJJxGeKAJa
rOWsSBVYww4Qc7KvXdubWllJYF6UaSyfumEe5yAGMTbjz4sgfxayZlSIBUxGjtiK
S/Xvgm8hUPxs7Or08z+tAOZR7IbE6S3k72v5yLUwbay9CIm0HuFezcYMiSrk6ppm
5L+LNXKofQz1ldcRLV/tfxue7ofUgtf30sOQswIDAQABAoIBABnXRG+nRTMq15QZ
1jK8ezkq3WQz8+DJfOhLINphU7s6oaNuSrswGHMecZQaHhgI7HBDnEiv4OZGzhVE
AQtPNZgqhPohH9YrmMawqSls9XFs5Y6BP2Vqr76E49rwHvdvlAL/6rrvk9a+Yvnw
tSf9q8hATEzPp2IJPKwLp5SDujshpQUHepJ/oKvis1FhNM1B2MGege9LwjrL8xv4
BgyK2OeIfTXeA89bsyZZRNFxJK9BkNCu4/CgVXEuy8+J3r6VhU0cnW0zReVsjG0R
4kpp4PDC84SqFgHOqXcqHGmiVl77wmrjFbnxSfPWC8FOYhb/7RFahaoYCYNGDWaU
KwLpesECgYEA8QixXkesgXTypw9/7ysbn3TMimNVyJhZBZw09O1pggq8Iuse6Ysm
cMzW4PkTgsomDoUCbvajuyS1WT7xyE10/LitHlHL38q56KArGGdm3t4TqgMmvfuB
2lJe2D9z8fnMjH1bFZg/E3OhNJXab7ISK+Q/4zDYpZlRwb4fOw8WxeMCgYEA25WP
djfxSqJcCUS89iP7xzvRWJS+kyP2CeWEcuybxLTX6mi5kDcy/+4zDSjP5zH+sU+0
laZnCZYJDHDJ1leHrtlRM66vgcyM3Ca6RXgowNOh6YT/DDN992kugtrzCInChKOp
w/FWcmNff3dJwIntkEJzLo9sDVXO5eQSLJKygvECgYA/uNqbYDt85hwYioJ6Cl19
JHXGyEgvhgdS8l8VuYZBOPFQEfTULVN2UtEkHPVJiIPTJtrj1xSmLyg6deeZ2tBo
17H86AcMHR5VH7ME+qE5nmB4e+jMJSfJPimQ5gWTHUU0hxeDeAKE8/bUXiGnkd43
+FnjiFBeR1BT9h1vkaelnQKBgAKEKTuykmpHiAR3LC8p5GW5EsIQGkr3W4drgOQM
QBC1/c9q2c2ERGpYYW9iK1e74+5GOoyIdp/Of1YMKNPy9tQTG3IbK1mybV7Mds/6
+4SSKEXTx1RtdqESLH1FYwmTAo6gjX54UoRHDT4ZsNeq/PTtPgKnlBZnCFLsFSU7
nR4RAoGAPJacjvOpwG5a786aoufWC/97ur7DHNUcB4wF6gGPiI0dQpgAlVEcX5sO
ekw4TWAP7NZmNcCt4BZ44+s+uRXWrp9QWsbE8qkrGsTbQujehFCFkixJq3SssnWv
y6of/iNS2HBdjMeVhwV6tWRAlo5cI5WABzhaK9MO+Hh2BL4w77c=
-----END RSA PRIVATE KEY-----
";
/// `openssl ecparam -name prime256v1 -genkey | openssl pkcs8 -topk8 -nocrypt`
const ECDSA: &str = "-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgyxF8bbEkNpj6J5Bb
d47S5pfvloyITiDnP26h8SuwyGehRANCAARnZqB7khQvn52fH49UsMEI3krh41i+
6qm4B3PbSuBdGcoroc2ArBNadljVdhaDFNuZXJjdqgqPLhoa/GTaEuYT
-----END PRIVATE KEY-----
";
/// `openssl genrsa 1024`
const SHORT: &str = "-----BEGIN PRIVATE KEY-----
MIICeAIBADANBgkqhkiG9w0BAQEFAASCAmIwggJeAgEAAoGBAM//jEI+bRqplPNZ
WfFjuv1VhU/NPkzKK+LdIThn5VAGRDg/6s1iMN82eedWXSqYUj29QHH2+Km9zR7B
E+zyhlhOkv+2IwMgzy5XcXYv9fyNSyZjoSQZAIW3V/ka0++jAaJr4VbThZnV1QMx
w0BTYXI9kDR7arO6Hg2UufdC2/+DAgMBAAECgYEAh0MdeDrWgt9DMRmrJxJ/GJ4T
6riDSjazYX4CS4ctFeRtWtMeI+A1/gKUNf/w6HFUEjhPf41nWiNHEDfpeE6jU/5l
KHg/+OHpGlXJXeOh/dyQWEVSO7ZSg4JcDzMkgOq1U9BV3KH6r4A6oVzzsPDqlkGL
LbkFgvFNNcMRpG5/OsECQQD/Q0nMFPQrM9s1eouUmK4ZvFMa3735vHcTEzO6ipxe
yiWYfdCnhSXWU74JIpnyjeerdwi7a3E6ZjumapA0hNghAkEA0JlRUUP8YynIz5D1
4alnCh7yASiQYEHRVPoFJ3b4SyctHmP4AxN901fEJ7PCBgH43XlTIPfRUlMNE8ok
A6gTIwJAA45ba9Vq5WMujZsscKCD5GXkPn6Zde4zNnfRA6tErGlihrJSAtNvCIJY
JmZuAJwLey8IVxwTEr4z3Iilg6XKIQJBAMVBRjE3vfGzsI3/gVP8UlCyxJwt1KEB
fEcECl2wVckTacoENKIMC38PzpDQnlf6A3DDasWRMqLLoGEnVHkUtcsCQQD9+2Tu
i78RfaUsz+i3UI8JZT/8rDyU0g2EEC9sH8HO5gZrc69loWnhK28huwMYi3zBARcO
d+ruy2ilHvQyHjzs
-----END PRIVATE KEY-----
";
/// `openssl genrsa 4104`
const LONG: &str = "-----BEGIN PRIVATE KEY-----
MIIJRgIBADANBgkqhkiG9w0BAQEFAASCCTAwggksAgEAAoICAgCevv8ISXELVURI
gPpVgDzYJjfZueHRtcDOy5GF98/sqYEDMo6XOCJJ0YJjhyrtUuMhUAh+MZy96eF3
7se+RligbchhGNOTKnH9SpsbGi2kQb/xwUAP0k/KtazhLJO+ml8Jv754R1wNB8aF
dmXDPrDOUJCLdyjkgZmuoXsW3fFBwL9i6ao8VDUHs9AsTylIrVQTiijAmTp5tCKD
OPTxVgsnuxom7DIreMZCvS3JhzXa6wwYdnUc4jbUiX0eQrUT1Eq0mAE96n3uWDhr
F9Q7b7aAZKf67+c5LYnuIynJ5O3pz+emJRfvFugfutx3WT+JJnMHylJgYvwsZQ4i
hDwFkZVtlu4/iv49HS5wkxs27KCDD14gFJkVO7goxYUuyt4VNpUxHOJNfWQ+NQFe
Dh7N1HEISGaZeX8LwgzREr9fTpyMHSLbNHbLaE/qO9VIPyvPiOu2W5nsJxTNBrEK
PVem+7C5W76Rarb9/Ycr58Fw1oi/fNZRNAUyIr2mTWhAZIT9l3F37SDHcgo2uaxQ
Ml2wvprBqyZfV3TzU/8N5aVUhbowBhxWeeHRdLS3bCjYn/m6NWdm6qulRfzlkRPp
Rgs0wXGdjM1RLatlSRtWYLPnpQ0c/OFiVfoYuRuREWmbYWLS3eZ89lfKkA6RpHsq
G0XAm1WOUVvYxvQN9CkLl+zHRDs59Y0CAwEAAQKCAgEdx7njTZfB5wSQz3Vm7dA8
Qmsu0rK82yppAQJzTep5PNFBjs32K2cvTvj1f+l7LRYD7VYyik8bx5DvJWHeXacJ
rZ6uLHCghpFs0X6ohnAyhM0j5ruEXFFwt0VP1sN+ucoDc6+hM83eeetxpSTxDEUx
5yY+q6OFvpRckNmdEBTO34Bn52ryt19dawuuDEmz4yRHKB9+BiDUrQjeciRtU9Vy
5iRBUgUVZ6pV4dSBnnZpc7fIrQxKV1uu4n4Q27XJmwVKvMta2K84M9+do5JCdjIY
AwoKRtArR1I9VOZlhCdnugN8hS/ov/Ta4vyx/RGwwoBI4Vkz0M367BhLPGBgMRAF
wtI2bLuMiS/JF010qLcjOeK0uxYz2OGy9OLHmcZ+Xl7P0T8zpnkpFI58TYdLDbAg
AyrNozvM63RsxLzaft12ZlcKu9RG9zBJI0Y1vCeDQBzv10o+uhz2i5FhH1WdfD1e
maqCTF4WpaWlQguKfZ2aJId+W0VZYuMaKHP1CO3tRlNKjPtPh7wrN35KJ6nf6J41
alj+PW+72ZyWxD+KKsqjXeAumnpQrdBBrzD3IpRu5QQqihMe6CwA6FrMPk2wxseN
JfrPERfgF5c4TLyYwe6d1y+CwUBqnf/0tMhXShzaPvDpTzZRyfA0B3Rnl8gPwmFj
aofUBkHLTLEpO/5Rqk0r2YECggEBDX5FTKEad8n+tgCamJM0cUehrYigmOLzVXpF
qYVaikB+LjA8/lKF5ONL1evNFHLuIoExuqfcRtLFupKVpcQHXWDJtDjzoBkA1vGD
xdFN4BC7eD3CESUm5AG5R/II2esCvqLLAIU5OM4jp2iIAJWlZCh+g2OySfJ2mHX7
qc/nuUIKNZhBbABUhzBEVocHK99anZ+mnIy3J4JJO1KnOvZG30FMr9sGNJ8/gfgM
KFcomkwJomKqpN138+JILubLoeHuaIcSwlXcrJHdAsS9wIaIy8NBwaWG9p6cTw2x
crJp3WVNk6MfFFTWsRpogZHVsUygFNTEnyAYCeiWgKN7ju8tXU0CggEBC8PNlLRA
FXuNQOzYEGI4w5ccXXIdGOejzfpDdNJBcs4xepRaZstZjnVHKPSOGkjsR+HJRsUb
xzNAaB9PkuEM2QxJuVC4/JEmGa7DmjIST0NyUfoPR6fnAbwuM6FBrxCv+yZ1KIXu
oHcMXBuOSWBPQ3H4vLwYvX7xyl7AxS6Jqn4TukOPTInxHO7uLXDJpm1xbny+8nDa
z9ROyydDn07VfsbfTELs8CtM+EjCJh/oxOgL71mAfW9nsWsgx/oma2upvNclN0Tk
iu+GzFjDn43saOSzVw6emTIodMDWjDpRv2vTm87qlyNk0N3IanQoqft7zx9B69e3
xWhSwHIaq0ub2UECggEBDW7T1sHb871okhBv181UvCGv127ZUts9nK8pguZ7iH9E
Hv9u+VF2crPF36XseJsib79mnohWRzu2FVOxH2HUYyXkKEM6Zvv9Vf8CTIFeod6G
g+IXvbHa0crVhcZzAV9xUBAJQO9gVCkEXbk3DD3udZPKv0sVR4DWiFmMvTV5X3lb
aJe3Kan6fMuUfP/YJ9koARvbZqa//9k4xpI2YgCj9cawbbICr4iKVP14PQDoLxPb
04mekJravDVd3zNtLjAahH1UM5v/IN3lxMfQkEZfEVvFrt73SbYFrr3XFnR/6CTd
4kjWvArp4U6FE9j3gJbkF1jqlfABfnvKuS4H5/g8lVECggEBBVPr0s76QoBMTL21
b1371N+m8c6OzMuCC/Ks/8eD6ijkkV2Dvw+SBAiqbCqr+81Qa5EdpJX46XIVVdHw
KFUQi26cKHcc/wwAlBrn6/mG/yxNJkC3EL1ByTBeP/VkGJLXD0awQeS9Vx/ykffM
rQAXhTSk71vDXHWTrBDS/bkAkRw9dNnJmGDTt0WgySVNvLfNabrGgmaHQR0lfazP
W+LInnwTfabFRFJnrfzNJ5TFxf5MAV2n6aY88ETSeJ2ZLoZ4PNO1v9zMHvswMXR1
Stlr2WjQqrktK7ViStVVk/WJNcXv85x18nIN4uS9MTBfhfMkc3z1TofHane/GfXS
jAZWksECggEBA06ywQxKJk+ajuIPWPA3R0d07X9pesOcnvi3Svxh4C6xk8/xMQVV
tpY1R0IyQL5rf+/5DEAS8lG90zWaORHqshqMuxOFbLNIF47F8wQV2wLGb6U57XAq
JjvP2NVfgZg9RqBfOiKfc+HONMV3LUfAFWSZZFFMcCdpaSQEAPqHVcOsVdgojaEY
o5ISWtHCTTq+y9FSlVWScX49NOezBgWDo5NeOyJHrnQofTSqrKuAzYXfmctD9giB
Wx1Q2tddjlCGMdhRc72WS0P85LiB4p8eO4qinQpsUFNdI+RTiAbyHmGwJIcGI7pG
HBWBhKFHTKh0Nj2cJSbH8vl8rLXnew6H7U4=
-----END PRIVATE KEY-----
";

fn fault(pem: &str) -> Option<KeyFault> {
    KeyPair::from_pem(pem.as_bytes()).err()
}

#[test]
fn a_key_is_the_same_after_pem() {
    for algorithm in [Algorithm::RsaSha256, Algorithm::Ed25519Sha256] {
        let made = KeyPair::generate(algorithm).expect("made");
        let pem = made.to_pem().expect("written");
        assert!(pem.lines().all(|line| line.len() <= PEM_COLUMNS), "{algorithm:?}");
        let read = KeyPair::from_pem(pem.as_bytes()).expect("read");
        assert_eq!(read.algorithm(), algorithm);
        assert_eq!(read.record(), made.record());
        assert_eq!(read.sign(b"data"), made.sign(b"data"));
    }
}

#[test]
fn keys_of_openssl_are_read() {
    let ed25519 = KeyPair::from_pem(ED25519.as_bytes()).expect("read");
    assert_eq!(ed25519.algorithm(), Algorithm::Ed25519Sha256);
    assert_eq!(
        ed25519.record().expect("public"),
        "v=DKIM1; k=ed25519; p=dqBY2HLf8yktWnDUJcltTNI9znTevWAXT4D8+pdfp4M="
    );
    let rsa = KeyPair::from_pem(PKCS1.as_bytes()).expect("read");
    assert_eq!(rsa.algorithm(), Algorithm::RsaSha256);
    let record = rsa.record().expect("public");
    assert!(
        record.starts_with(
            "v=DKIM1; k=rsa; p=MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAzr9A3gzxwzRnDwZN"
        ),
        "{record}"
    );
}

#[test]
fn what_is_no_key_to_sign_with_is_refused() {
    assert_eq!(fault(""), Some(KeyFault::NoKey));
    assert_eq!(fault("-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"), NO_KEY);
    assert_eq!(fault("-----BEGIN PRIVATE KEY-----\n%\n-----END PRIVATE KEY-----\n"), NO_KEY);
    assert_eq!(fault("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), KIND);
    assert_eq!(fault(ECDSA), KIND);
    assert_eq!(fault(SHORT), Some(KeyFault::Size));
}

const NO_KEY: Option<KeyFault> = Some(KeyFault::NoKey);
const KIND: Option<KeyFault> = Some(KeyFault::Kind);

#[test]
fn rsa_keys_have_4096_bits_at_most() {
    let longest = RsaKeyPair::generate(KeySize::Rsa4096).map(|pair| KeyPair(Pair::Rsa(pair)));
    let pem = longest.ok().and_then(|pair| pair.to_pem().ok()).expect("written");
    assert_eq!(fault(&pem), None);
    assert_eq!(fault(LONG), Some(KeyFault::Size));
}
