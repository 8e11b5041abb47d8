//! The bucket of the config, opened and tried: what stands in the way of message bytes is found at
//! start. Knows no message.

use std::fs;
use std::path::Path;

use super::outgoing::password;
use crate::config::{Blobs, Bucket, BucketKeys};
use crate::directory::source::Fault;
use crate::store::objects::{KeySecret, Objects, Settings};

/// Longest file of authorities.
const AUTHORITY_BYTES_MAX: u64 = 1 << 20;

/// A client of the bucket, which is there and lets us write, read and remove; `None` where messages
/// are in the database.
pub async fn open(blobs: &Blobs) -> Result<Option<Objects>, Vec<Fault>> {
    let Blobs::Bucket(bucket) = blobs else { return Ok(None) };
    let objects = Objects::new(settings(bucket).map_err(|fault| vec![fault])?);
    let remedy = "see that the server runs, that the bucket is there, and that the key may write, \
                  read, list and remove in it; [store.s3] says where and who";
    let fault = |error: crate::store::StoreError| {
        vec![bucket.place.fault(format!("messages cannot be kept: {error}"), remedy)]
    };
    let objects = objects.map_err(fault)?;
    objects.reach().await.map_err(fault)?;
    Ok(Some(objects))
}

fn settings(bucket: &Bucket) -> Result<Settings, Fault> {
    let keys = bucket.keys.as_ref().map(keys).transpose()?;
    let authority = bucket.ca.as_ref().map(|(path, place)| {
        let remedy = "name a PEM file with the authority's certificate";
        authority(path).map_err(|why| place.fault(format!("{}: {why}", path.display()), remedy))
    });
    Ok(Settings {
        bucket: bucket.bucket.clone(),
        prefix: bucket.prefix.clone(),
        endpoint: bucket.endpoint.clone(),
        region: bucket.region.clone(),
        keys,
        authority: authority.transpose()?,
        transport: bucket.transport,
    })
}

fn keys(keys: &BucketKeys) -> Result<KeySecret, Fault> {
    let secret = password(&keys.secret_path).map_err(|why| {
        let message = format!("{}: {why}", keys.secret_path.display());
        let remedy = "put the secret of the key on the first line of this file, readable for the \
                      daemon's user";
        keys.secret_place.fault(message, remedy)
    })?;
    Ok(KeySecret { access_key: keys.access_key.clone(), secret })
}

fn authority(path: &Path) -> Result<Vec<u8>, String> {
    let length = fs::metadata(path).map_err(|e| e.to_string())?.len();
    if length > AUTHORITY_BYTES_MAX {
        return Err("larger than a file of certificates can be".into());
    }
    let pem = fs::read(path).map_err(|e| e.to_string())?;
    let certificates = pem.windows(27).filter(|text| text == b"-----BEGIN CERTIFICATE-----");
    if certificates.count() == 0 {
        return Err("no certificate in it".into());
    }
    Ok(pem)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn told(folder: &Path, lines: &str) -> String {
        let text = format!("[store]\nblobs = \"s3://mail/x\"\n[store.s3]\n{lines}");
        let blobs = config::parse_blobs(&text, &folder.join("p.toml"));
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let Err(faults) = runtime.block_on(open(&blobs)) else { panic!("it opens") };
        assert_eq!(faults.len(), 1, "{faults:?}");
        faults[0].to_string()
    }

    #[test]
    fn what_keeps_messages_out_is_told_with_its_place() {
        let folder = std::env::temp_dir().join(format!("postfach-bucket-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join("secret"), "geheim\n").expect("written");
        fs::write(folder.join("empty.pem"), "").expect("written");
        let keys = "access_key = \"k\"\nsecret_key = \"file:secret\"\n";
        let fault = told(&folder, &keys.replace("file:secret", "file:none"));
        assert!(fault.contains("p.toml:5:14: ") && fault.contains("none: "), "{fault}");
        let fault = told(&folder, "ca = \"none.pem\"\n");
        assert!(fault.contains("p.toml:4:6: ") && fault.contains("none.pem: "), "{fault}");
        let fault = told(&folder, "ca = \"empty.pem\"\n");
        assert!(fault.contains("no certificate in it"), "{fault}");
        // nobody listens there
        let fault = told(&folder, &format!("endpoint = \"http://127.0.0.1:1\"\n{keys}"));
        assert!(fault.contains("p.toml:2:9: messages cannot be kept: "), "{fault}");
        assert!(fault.contains("s3://mail/x") && !fault.contains("geheim"), "{fault}");
        fs::remove_dir_all(&folder).expect("removed");
    }
}
