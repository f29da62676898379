//! The S3 operations, over a folder.

use futures::StreamExt;
use s3s::dto::*;
use s3s::{Body, S3, S3Request, S3Response, S3Result, s3_error};

use crate::list;
use crate::objects::{Meta, ObjectError, Objects};

/// What s3s calls once a request's signature has been checked.
pub(crate) struct Backend {
    pub(crate) objects: Objects,
}

impl From<ObjectError> for s3s::S3Error {
    fn from(error: ObjectError) -> Self {
        match error {
            ObjectError::NoBucket => s3_error!(NoSuchBucket),
            ObjectError::NoKey => s3_error!(NoSuchKey),
            ObjectError::BadKey => s3_error!(InvalidArgument, "the key is not usable here"),
            ObjectError::Io(error) => s3_error!(InternalError, "{error}"),
        }
    }
}

#[async_trait::async_trait]
impl S3 for Backend {
    async fn create_bucket(&self, req: S3Request<CreateBucketInput>) -> S3Result<S3Response<CreateBucketOutput>> {
        let bucket = req.input.bucket.to_string();
        match self.objects.create_bucket(&bucket) {
            Err(ObjectError::Io(error)) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                Err(s3_error!(BucketAlreadyOwnedByYou))
            }
            done => {
                done?;
                Ok(S3Response::new(CreateBucketOutput { location: Some(format!("/{bucket}")) }))
            }
        }
    }

    async fn list_buckets(&self, _req: S3Request<ListBucketsInput>) -> S3Result<S3Response<ListBucketsOutput>> {
        let buckets = self.objects.buckets()?;
        let buckets = buckets.into_iter().map(|name| Bucket { name: Some(name), ..Bucket::default() }).collect();
        Ok(S3Response::new(ListBucketsOutput { buckets: Some(buckets), ..ListBucketsOutput::default() }))
    }

    async fn head_bucket(&self, req: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
        match self.objects.has_bucket(&req.input.bucket) {
            true => Ok(S3Response::new(HeadBucketOutput::default())),
            false => Err(s3_error!(NoSuchBucket)),
        }
    }

    async fn get_object(&self, req: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let input = req.input;
        let (meta, bytes) = self.objects.read(&input.bucket, &input.key)?;
        let etag = ETag::Strong(meta.etag);
        if input.if_match.is_some_and(|condition| !matches(&condition, &etag)) {
            return Err(s3_error!(PreconditionFailed));
        }
        if input.if_none_match.is_some_and(|condition| matches(&condition, &etag)) {
            return Err(s3_error!(NotModified));
        }
        let (bytes, content_range) = match input.range {
            None => (bytes, None),
            Some(range) => {
                let range = range.check(meta.length)?;
                let text = format!("bytes {}-{}/{}", range.start, range.end - 1, meta.length);
                (bytes.slice(range.start as usize..range.end as usize), Some(text))
            }
        };
        Ok(S3Response::new(GetObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            content_length: i64::try_from(bytes.len()).ok(),
            content_range,
            content_type: Some("application/octet-stream".to_owned()),
            e_tag: Some(etag),
            last_modified: Some(meta.modified.into()),
            // One piece: what goes to writev(2) are the file's own pages.
            body: Some(StreamingBlob::from(Body::from(bytes))),
            ..GetObjectOutput::default()
        }))
    }

    async fn head_object(&self, req: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let meta = self.objects.meta(&req.input.bucket, &req.input.key)?;
        Ok(S3Response::new(HeadObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            content_length: i64::try_from(meta.length).ok(),
            content_type: Some("application/octet-stream".to_owned()),
            e_tag: Some(ETag::Strong(meta.etag)),
            last_modified: Some(meta.modified.into()),
            ..HeadObjectOutput::default()
        }))
    }

    async fn put_object(&self, req: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let input = req.input;
        let mut upload = self.objects.begin(&input.bucket, &input.key)?;
        if let Some(mut body) = input.body {
            while let Some(piece) = body.next().await {
                let piece = piece.map_err(|error| s3_error!(IncompleteBody, "{error}"))?;
                upload.write(&piece).map_err(ObjectError::Io)?;
            }
        }
        let Meta { etag, .. } = self.objects.finish(upload)?;
        Ok(S3Response::new(PutObjectOutput { e_tag: Some(ETag::Strong(etag)), ..PutObjectOutput::default() }))
    }

    async fn delete_object(&self, req: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.objects.delete(&req.input.bucket, &req.input.key)?;
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn list_objects_v2(&self, req: S3Request<ListObjectsV2Input>) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = req.input;
        let prefix = input.prefix.as_deref().unwrap_or_default();
        let keys = self.objects.list(&input.bucket, prefix)?;
        let after = input.continuation_token.as_deref().or(input.start_after.as_deref()).unwrap_or_default();
        let limit = usize::try_from(input.max_keys.unwrap_or(1000)).unwrap_or(0).min(1000);
        let page = list::page(keys, prefix, input.delimiter.as_deref().unwrap_or_default(), after, limit);
        let contents = page.objects.into_iter().map(|(key, meta)| Object {
            key: Some(key),
            e_tag: Some(ETag::Strong(meta.etag)),
            size: i64::try_from(meta.length).ok(),
            last_modified: Some(meta.modified.into()),
            ..Object::default()
        });
        let contents: Vec<Object> = contents.collect();
        let prefixes: Vec<CommonPrefix> =
            page.prefixes.into_iter().map(|prefix| CommonPrefix { prefix: Some(prefix) }).collect();
        Ok(S3Response::new(ListObjectsV2Output {
            name: Some(input.bucket.to_string()),
            key_count: i32::try_from(contents.len() + prefixes.len()).ok(),
            max_keys: i32::try_from(limit).ok(),
            is_truncated: Some(page.next.is_some()),
            next_continuation_token: page.next,
            contents: Some(contents),
            common_prefixes: Some(prefixes),
            prefix: input.prefix,
            delimiter: input.delimiter,
            continuation_token: input.continuation_token,
            start_after: input.start_after,
            ..ListObjectsV2Output::default()
        }))
    }
}

fn matches(condition: &ETagCondition, etag: &ETag) -> bool {
    match condition {
        ETagCondition::Any => true,
        ETagCondition::ETag(wanted) => wanted.value() == etag.value(),
    }
}
